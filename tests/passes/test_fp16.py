"""Pass `fp16`: IEEE float16 is what the checkpoint holds."""

from __future__ import annotations

import pytest
import torch

from compress.errors import PassError
from compress.passes.fp16 import Fp16
from compress.weights.forms import Dense


def test_numbers_are_rounded_to_11_significant_bits():
    exact = torch.tensor([[1 + 2**-10, 1 + 2**-12, 65504.0, 2**-24]])
    actual = Fp16().apply("w", Dense(exact), {}).tensor
    assert actual.dtype == torch.float16
    assert actual.tolist() == [[1 + 2**-10, 1.0, 65504.0, 2**-24]]
    with pytest.raises(PassError, match="use bf16"):
        Fp16().apply("w", Dense(exact * 2), {})


def test_a_model_takes_half_the_bytes(llama, run):
    variant = run(llama, "fp16")
    assert {variant.tensor(name).dtype for name in variant.names} == {torch.float16}
    assert all(form.nbytes == 2 * form.shape[0] * form.shape[1] for form in variant.manifest.weights.values())
