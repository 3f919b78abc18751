"""Scales in float16: the nearest ones, or an error where there is none."""

import pytest
import torch

from compress.errors import ExportError
from compress.weights.forms import Quantized
from compress.weights.half_scales import scale_rounding_error, with_half_scales


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
