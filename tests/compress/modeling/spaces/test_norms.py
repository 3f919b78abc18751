"""Norms are told by what they compute."""

import pytest
import torch
from torch import nn
from transformers.models.cohere.modeling_cohere import CohereLayerNorm
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.t5.modeling_t5 import T5LayerNorm

from compress.modeling.spaces.norms import Norm, read_norm


class Scale(nn.Module):
    """A gain without a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(16))

    def forward(self, x):
        return x * self.weight


class Largest(Scale):
    """A norm by the largest channel, which changes where its inputs are rotated."""

    def forward(self, x):
        return self.weight * x / x.abs().amax(-1, keepdim=True)


@pytest.mark.parametrize(
    ("module", "norm"),
    [
        (LlamaRMSNorm(16), Norm(offset=0.0, centered=False, has_bias=False)),
        (T5LayerNorm(16), Norm(offset=0.0, centered=False, has_bias=False)),
        (Gemma3RMSNorm(16), Norm(offset=1.0, centered=False, has_bias=False)),
        (nn.LayerNorm(16), Norm(offset=0.0, centered=True, has_bias=True)),
        (nn.LayerNorm(16, bias=False), Norm(offset=0.0, centered=True, has_bias=False)),
        (CohereLayerNorm(16), Norm(offset=0.0, centered=True, has_bias=False)),
        (nn.LayerNorm(16, device="meta"), Norm(offset=0.0, centered=True, has_bias=True)),
        (Largest(), None),
        (nn.Linear(16, 16), None),
        (nn.Bilinear(2, 2, 2), None),
        (nn.BatchNorm1d(16), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_norm_is_known_by_what_it_computes(module, norm):
    assert read_norm(module) == norm


def test_the_weight_with_which_nothing_is_scaled():
    assert Norm(0.0, False, False).neutral == 1.0
    assert Norm(1.0, False, False).neutral == 0.0


def test_a_gain_alone_commutes_with_rotations_too():
    assert read_norm(Scale()) == Norm(offset=0.0, centered=False, has_bias=False)
