"""Weights in 4 bits."""

from __future__ import annotations

import pytest

from compress.passes.int4 import Int4
from compress.pipeline.parse import parse_pass
from compress.weights.forms import Dense
from tests.support.tensors import gaussian


@pytest.mark.parametrize("symmetry", ["sym", "asym"])
def test_codes_use_all_of_4_bits(symmetry):
    weight = gaussian(64, 64)
    stored = Int4(solver="rtn", symmetry=symmetry).apply("w", Dense(weight), {})
    assert (stored.bits, stored.group, stored.zero_point is None) == (4, 32, symmetry == "sym")
    assert (int(stored.codes.min()), int(stored.codes.max())) == (-8, 7)
    assert float((stored.dequantize() - weight).norm() / weight.norm()) < 0.12


def test_schemes_are_its_settings():
    assert Int4.presets == {"W4A16": "group=128", "W4A16_ASYM": "group=128:symmetry=asym"}
    assert str(parse_pass("w4a16_asym")) == "int4:group=128:symmetry=asym"
