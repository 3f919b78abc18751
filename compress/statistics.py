"""What is known of a linear's inputs: running statistics over calibration tokens, in float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from compress.contract import Statistic
from compress.errors import PassError

SAMPLE_ROWS = 128
"""Input rows that are kept as they are, for solvers that search on real outputs."""


@dataclass
class LinearInput:
    """Statistics of the inputs ``x`` (``[tokens, features]``) of one or several linears that read the same tensor."""

    level: Statistic
    tokens: int = 0
    amax: Tensor = field(default_factory=lambda: torch.zeros(0))
    """max |x_j|, ``[features]``"""
    square: Tensor = field(default_factory=lambda: torch.zeros(0))
    """E[x_j²], ``[features]``"""
    gram: Tensor = field(default_factory=lambda: torch.zeros(0))
    """E[x xᵀ], ``[features, features]``"""
    sample: Tensor = field(default_factory=lambda: torch.zeros(0))
    """Up to `SAMPLE_ROWS` input rows, spread over the calibration windows. A batch's first row is among them: sink
    tokens carry the largest activations."""

    def update(self, x: Tensor, share: int) -> None:
        """Take in one batch ``[..., features]``, keeping ``share`` of its rows as they are."""
        x = x.detach().reshape(-1, x.shape[-1]).float()
        if not bool(torch.isfinite(x).all()):
            raise PassError("calibration met NaN or infinite activations; the model can't be calibrated on this text")
        if self.tokens == 0:
            self.amax = torch.zeros(x.shape[1])
            self.sample = x.new_zeros(0, x.shape[1])
        old, self.tokens = self.tokens, self.tokens + x.shape[0]
        self.amax = torch.maximum(self.amax, x.abs().amax(0))
        rows = torch.linspace(0, x.shape[0] - 1, min(share, x.shape[0])).long()
        self.sample = torch.cat([self.sample, x[rows]])[:SAMPLE_ROWS]
        if self.level >= Statistic.SQUARE:
            self.square = _running(self.square, x.square().sum(0), old, self.tokens)
        if self.level >= Statistic.GRAM:
            self.gram = _running(self.gram, x.T @ x, old, self.tokens)


def _running(mean: Tensor, total: Tensor, old: int, new: int) -> Tensor:
    return total / new if old == 0 else mean.mul_(old / new).add_(total, alpha=1 / new)


InputStatistics = Mapping[str, LinearInput]
"""Statistics by the name of the weight; weights that read the same tensor share them. Empty without calibration."""
