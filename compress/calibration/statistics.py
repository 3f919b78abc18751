"""Running statistics of a linear's inputs over calibration tokens, in float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING

from compress.calibration.precision import add_second_moment, fast_products, symmetrize
from compress.errors import PassError
from compress.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_ROWS = 128
"""Input rows that are kept as they are, for solvers that search on real outputs."""


@dataclass(frozen=True)
class LinearInput:
    """Statistics of the inputs ``x`` (``[tokens, features]``) of one or several linears that read the same tensor."""

    level: Statistic
    tokens: int = 0
    amax: Tensor = field(default_factory=lambda: torch.zeros(0))
    """max |x_j|, ``[features]``"""
    square: Tensor = field(default_factory=lambda: torch.zeros(0))
    """E[x_j²], ``[features]``; the diagonal of the Gram, where there is one"""
    gram: Tensor = field(default_factory=lambda: torch.zeros(0))
    """E[x xᵀ], ``[features, features]``, tokens weighted by their importance"""
    mismatch: Tensor = field(default_factory=lambda: torch.zeros(0))
    """E[(y - x) xᵀ] with y what the original model's linear reads for the same token, ``[features, features]``"""
    sample: Tensor = field(default_factory=lambda: torch.zeros(0))
    """Up to `SAMPLE_ROWS` input rows, spread over the calibration windows. A batch's first row is among them: sink
    tokens carry the largest activations."""

    def propagated(self, exact: Tensor, stored: Tensor) -> LinearInput:
        """The statistics of a linear's outputs: ``stored`` ``[out, features]``, ``exact`` being the original's.

        With R' stored and R exact: E[R'x xᵀR'ᵀ] = R' H R'ᵀ, and E[(Ry - R'x)(R'x)ᵀ] = R (D + H) R'ᵀ - R' H R'ᵀ.
        Ranges are those of the sampled rows.
        """
        sample = self.sample @ stored.T
        gram = stored @ self.gram @ stored.T if self.level >= Statistic.GRAM else self.gram
        square = gram.diagonal() if self.level >= Statistic.GRAM else sample.square().mean(0)
        mismatch = self.mismatch
        if self.level >= Statistic.MISMATCH and len(mismatch):
            mismatch = exact @ (mismatch + self.gram) @ stored.T - gram
        amax = sample.abs().amax(0)
        return replace(self, amax=amax, square=square, gram=gram, mismatch=mismatch, sample=sample)


class RunningStatistics:
    """Statistics in the making: sums over the batches so far, for inputs of so many ``features``."""

    def __init__(self, level: Statistic, features: int) -> None:
        self.level = level
        self.tokens = 0
        self._amax = torch.zeros(features)
        self._square = torch.zeros(features if level is Statistic.SQUARE else 0)
        self._gram = torch.zeros(2 * (features if level >= Statistic.GRAM else 0,))
        self._mismatch = torch.zeros(2 * (features if level >= Statistic.MISMATCH else 0,))
        self._sample = torch.zeros(0, features)

    def update(self, x: Tensor, share: int, original: Tensor | None = None, importance: Tensor | None = None) -> None:
        """Add one batch ``[..., features]``, keeping ``share`` of its rows as they are.

        ``original`` are the original model's inputs for the same tokens; ``importance`` ``[tokens]`` is what each token
        counts in the second moments.
        """
        x = x.detach().reshape(-1, x.shape[-1]).float()
        self.tokens += x.shape[0]
        self._amax = torch.maximum(self._amax, torch.linalg.vector_norm(x, torch.inf, 0))
        if len(self._sample) < SAMPLE_ROWS:
            rows = torch.linspace(0, x.shape[0] - 1, min(share, x.shape[0])).long()
            self._sample = torch.cat([self._sample, x[rows]])[:SAMPLE_ROWS]
        counted = x if importance is None else x * importance.sqrt()[:, None]
        if self.level >= Statistic.GRAM:
            add_second_moment(self._gram, counted)
        elif self.level is Statistic.SQUARE:
            self._square += counted.square().sum(0)
        if not all(bool(torch.isfinite(sums).all()) for sums in (self._amax, self._squares())):  # a NaN stays one
            raise PassError("calibration met NaN or infinite activations; the model can't be calibrated on this text")
        if self.level >= Statistic.MISMATCH and original is not None:
            y = original.detach().reshape(-1, original.shape[-1]).float()
            with fast_products():
                self._mismatch += (y - x).T @ (x if importance is None else x * importance[:, None])

    def finish(self) -> LinearInput:
        """The statistics, for which the sums are divided in place: to be called once."""
        for total in (self._square, self._gram, self._mismatch):
            total /= self.tokens
        symmetrize(self._gram)
        return LinearInput(
            self.level, self.tokens, self._amax, self._squares(), self._gram, self._mismatch, self._sample
        )

    def _squares(self) -> Tensor:
        return self._gram.diagonal() if self.level >= Statistic.GRAM else self._square


InputStatistics = Mapping[str, LinearInput]
"""Statistics by the name of the weight; weights that read the same tensor share them. Empty without calibration."""


class Statistic(IntEnum):
    """Levels of statistics of a linear's inputs; each includes the ones before it."""

    NONE = 0
    AMAX = 1
    """max |x_j| of every input channel"""
    SQUARE = 2
    """E[x_j²] of every input channel"""
    GRAM = 3
    """E[x xᵀ]"""
    MISMATCH = 4
    """E[(y - x) xᵀ], y being what the original model's linear reads for the same token"""
