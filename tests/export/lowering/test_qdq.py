"""Integers in graphs by explicit DequantizeLinear."""

from __future__ import annotations

import torch

from compress.export.lowering.qdq import nibbles


def test_the_first_of_two_codes_is_the_lower_half():
    assert nibbles(torch.tensor([[1, -2, 7], [-8, 0, 3]], dtype=torch.int8)).tolist() == [0xE1, 0x87, 0x30]
    assert nibbles(torch.tensor([5, -1, 2], dtype=torch.int8)).tolist() == [0xF5, 0x02]
