"""GGUF's blocks, read by the format's own library."""

from __future__ import annotations

from dataclasses import replace

import gguf
import numpy as np
import pytest
import torch

from compress.errors import ExportError
from compress.export.gguf.blocks import blocks
from compress.weights.forms import Quantized

SCHEMES = {"Q4_0": (4, False), "Q4_1": (4, True), "Q8_0": (8, False)}


def half(weight):
    return replace(weight, scale=weight.scale.half())


@pytest.mark.parametrize("group", [32, 64, None])
@pytest.mark.parametrize("tensor_type", SCHEMES)
def test_the_library_reads_our_integers(rounded, tensor_type, group):
    bits, zero = SCHEMES[tensor_type]
    weight = rounded(torch.randn(24, 128, generator=torch.Generator().manual_seed(3)), group, bits, zero)
    encoded = blocks(weight)
    assert encoded.tensor_type == tensor_type
    read = gguf.quants.dequantize(encoded.data, gguf.GGMLQuantizationType[tensor_type])
    assert np.array_equal(read, encoded.values.numpy())
    half_scales = half(weight)
    if zero:  # the least weight of a group is rounded to float16 too
        least = half_scales.scale.float() * (half_scales.zero_point.float() + 8)
        off = (encoded.values - half_scales.dequantize()).abs().unflatten(1, (-1, group or 128)).amax(2)
        assert (off <= least.abs() * 2**-11 + 1e-7).all()
    else:
        assert torch.equal(encoded.values, half_scales.dequantize())
    assert encoded.data.nbytes == 24 * 4 * {"Q4_0": 18, "Q4_1": 20, "Q8_0": 34}[tensor_type]


def test_signed_scales_and_the_lowest_code_are_kept():
    codes = torch.arange(-8, 8, dtype=torch.int8).repeat(2, 4)
    weight = Quantized(codes, torch.tensor([[0.5, -0.25], [-1.0, 2.0]]), 4, 32)
    read = gguf.quants.dequantize(blocks(weight).data, gguf.GGMLQuantizationType.Q4_0)
    assert np.array_equal(read, weight.dequantize().numpy())
    wide = Quantized(torch.arange(-128, 128).to(torch.int8).reshape(8, 32), torch.full((8, 1), -0.5), 8, 32)
    read = gguf.quants.dequantize(blocks(wide).data, gguf.GGMLQuantizationType.Q8_0)
    assert np.array_equal(read, wide.dequantize().numpy())
    with pytest.raises(ExportError, match=r"gguf has float16 scales, and one of 1e\+05 is too large"):
        blocks(replace(wide, scale=wide.scale * -2e5))
