"""Weights in 2 bits."""

from __future__ import annotations

import pytest

from compress.passes.int2 import Int2
from compress.weights.forms import Dense
from tests.support.tensors import gaussian


@pytest.mark.parametrize("symmetry", ["sym", "asym"])
def test_codes_use_all_of_2_bits(symmetry):
    weight = gaussian(64, 64)
    stored = Int2(solver="rtn", symmetry=symmetry).apply("w", Dense(weight), {})
    assert (stored.bits, stored.group, stored.zero_point is None) == (2, 32, symmetry == "sym")
    assert (int(stored.codes.min()), int(stored.codes.max())) == (-2, 1)
    assert float((stored.dequantize() - weight).norm() / weight.norm()) < 0.6
