"""Scales in float16: the nearest ones, or an error where there is none."""

import pytest
import torch

from compress.errors import ExportError
from compress.export.gguf.blocks import blocks
from compress.export.lowering.onnxruntime import gather_quantized
from compress.formats.base import find_format
from compress.passes.solvers.grid import Grid
from compress.passes.solvers.rounding import round_to_nearest
from compress.weights.forms import Quantized
from compress.weights.half_scales import scale_rounding_error, with_half_scales
from compress.weights.stored import StoredForm
from tests.support.graphs import run_lowered
from tests.support.tensors import gaussian


def quantized(*scales):
    return Quantized(torch.ones(len(scales), 32, dtype=torch.int8), torch.tensor(scales)[:, None], 8, 32)


def test_scales_become_the_nearest_float16_and_nothing_else_changes():
    exact = quantized(0.1, 1e-9, 0.5)
    rounded = with_half_scales(exact, "format gptq")
    assert rounded.scale.dtype == torch.float16
    assert rounded.scale.flatten().tolist() == [0.0999755859375, 0.0, 0.5]
    assert torch.equal(rounded.codes, exact.codes)
    naive = ((0.1 - 0.0999755859375) ** 2 + 1e-18) ** 0.5 / (0.1**2 + 0.5**2) ** 0.5
    assert scale_rounding_error(exact, rounded) == pytest.approx(naive, rel=1e-3)


def test_a_scale_that_float16_does_not_hold_is_refused():
    with pytest.raises(ExportError, match="format awq has float16 scales, and one of 1e\\+05 is too large for that"):
        with_half_scales(quantized(1.0, 1e5), "format awq")


@pytest.mark.parametrize("symmetric", [True, False])
def test_every_format_and_graph_dequantizes_to_the_numbers_that_were_solved_for(tmp_path, symmetric):
    """Scales are rounded to what is stored before codes are chosen, so no format rounds them again."""
    weight = round_to_nearest(gaussian(64, 64), Grid(4, 32, symmetric), True).quantized()
    exact, name = weight.dequantize(), "model.layers.0.mlp.up_proj.weight"
    for checkpoint_format in ("compressed-tensors", "awq", *(["gptq"] if symmetric else [])):
        holder = find_format(checkpoint_format)
        stored = holder.as_stored(weight)
        assert isinstance(stored, Quantized)
        assert scale_rounding_error(weight, stored) == 0
        decoded = holder.decode(name, StoredForm.of(stored), holder.encode(name, stored, True))
        assert torch.equal(decoded.dequantize(), exact)
    if symmetric:  # with zero points GGUF has minima instead
        assert torch.equal(blocks(weight).values, exact)
    rows, _ = run_lowered(tmp_path, lambda emit, ids: gather_quantized(emit, "w", weight, ids), torch.arange(64))
    assert torch.equal(rows, exact)
