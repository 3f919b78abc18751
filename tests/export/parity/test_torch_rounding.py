"""Rounding in torch: inside the context alone, and by the rule of the operators."""

from __future__ import annotations

import numpy as np
import torch

from compress.calibration.precision import per_token
from compress.checkpoint.model import Model
from compress.export.parity.reference import text_trace
from compress.export.parity.torch_rounding import rounded_cache, rounded_inputs
from tests.support.tensors import gaussian, token_ids

IDS = token_ids(1, 9)[0]
CACHE = ("key", "value")


def test_a_cache_is_rounded_inside_alone(llama):
    module = Model.open(str(llama)).torch_module()
    scales = {f"past_key_values.{i}.{part}": torch.full((1, 2, 1, 16), 0.1) for i in range(2) for part in CACHE}
    exact = text_trace(module, IDS)
    with rounded_cache(module, scales):
        rounded = text_trace(module, IDS)
    for step, other in zip(exact, rounded, strict=True):
        key, value = (other.expected[f"present.0.{part}"] / np.float32(0.1) for part in CACHE)
        assert np.abs(key - key.round()).max() < 1e-4
        assert np.abs(value - value.round()).max() < 1e-4
        assert not np.array_equal(step.expected["logits"], other.expected["logits"])
    assert np.array_equal(text_trace(module, IDS)[1].expected["logits"], exact[1].expected["logits"])


def test_linears_round_their_inputs_inside_alone():
    linear, x = torch.nn.Linear(8, 4, bias=False), gaussian(3, 8)
    module = torch.nn.Sequential(linear)
    exact = module(x)
    with rounded_inputs(module):
        assert torch.equal(module(x), per_token(x) @ linear.weight.T)
        assert not torch.equal(module(x), exact)
    assert torch.equal(module(x), exact)
