"""All experts, weighed, are the few that a router chooses."""

import torch
from torch import nn

from compress.export.traced.experts import weigh_all_experts
from compress.modeling.experts import Expert, Experts
from tests.support.tensors import gaussian

NAMES = ("gate_proj", "up_proj", "down_proj")


def test_weighing_all_experts_is_sending_tokens_to_some():
    torch.manual_seed(0)
    layer = nn.Module()
    layer.experts = Experts(Expert(16, 24, NAMES, nn.functional.silu) for _ in range(5))
    hidden, shares = gaussian(12, 16), gaussian(12, 2, seed=1).softmax(-1)
    chosen = torch.stack([torch.randperm(5)[:2] for _ in range(12)])
    with torch.no_grad():
        sent = layer.experts(hidden, chosen, shares)
        weigh_all_experts(layer)
        assert torch.allclose(layer.experts(hidden, chosen, shares), sent, atol=1e-6)
