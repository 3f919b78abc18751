"""Experts as a graph computes them: all of them on every token, weighed by the router's shares, most of which are 0."""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING

import torch

from compress.modeling.experts import Experts

if TYPE_CHECKING:
    from torch import Tensor, nn


def weigh_all_experts(module: nn.Module) -> None:
    """Let the experts of a module compute without a look at which token is sent to which, which no graph can take."""
    for child in module.modules():
        if isinstance(child, Experts):
            child.forward = MethodType(_weighed, child)  # type: ignore[method-assign]


def _weighed(experts: Experts, hidden: Tensor, chosen: Tensor, shares: Tensor) -> Tensor:
    """As `Experts.forward`; ``chosen`` and ``shares`` are ``[tokens, k]``."""
    outputs = []
    for i, expert in enumerate(experts):
        share = torch.where(chosen == i, shares, torch.zeros_like(shares)).sum(-1, keepdim=True)
        outputs.append((expert(hidden) * share).to(hidden.dtype))
    return torch.stack(outputs).sum(0)
