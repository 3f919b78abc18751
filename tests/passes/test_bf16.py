"""Pass `bf16`: bfloat16 keeps float32's range."""

from __future__ import annotations

import torch

from compress.passes.bf16 import Bf16
from compress.weights.forms import Dense


def test_numbers_are_rounded_to_8_significant_bits_of_float32s_range():
    exact = torch.tensor([[1 + 2**-7, 1 + 2**-9, 2.0**120, 2.0**-120]])
    actual = Bf16().apply("w", Dense(exact), {}).tensor
    assert actual.dtype == torch.bfloat16
    assert actual.tolist() == [[1 + 2**-7, 1.0, 2.0**120, 2.0**-120]]


def test_a_model_is_in_bfloat16_throughout(llama, run):
    variant = run(llama, "bf16")
    assert {variant.tensor(name).dtype for name in variant.names} == {torch.bfloat16}
