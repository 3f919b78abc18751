"""Rank budgets: spend a budget of stored numbers over low-rank products of many matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compress.passes.solvers.budget import Rung, spend_budget

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RankLosses:
    """Losses of each direction that a product of a matrix ``[out, in]`` leaves out, largest first."""

    shape: tuple[int, int]
    losses: Tensor

    def ranks(self) -> list[int]:
        """Ranks to choose from, the matrix itself last, as 0."""
        step = rank_step(self.shape)
        return [*(rank for rank in range(step, min(self.shape), step) if shrinks(self.shape, rank)), 0]

    def rung(self, rank: int) -> Rung:
        """Cost of a rank in stored numbers, and the share of the losses that it leaves out."""
        if rank == 0:
            return Rung(math.prod(self.shape), 0.0)
        return Rung(rank * sum(self.shape), float(self.losses[rank:].sum()) / (float(self.losses.sum()) or 1.0))


def rank_step(shape: tuple[int, int]) -> int:
    """Step of ranks, so that groups of a left factor's inputs stay whole when it is quantized."""
    return 32 if min(shape) >= 128 else 8


def shrinks(shape: tuple[int, int], rank: int) -> bool:
    """Whether a product of that rank holds fewer numbers than the matrix; rank 0 is none."""
    return 0 < rank * sum(shape) < math.prod(shape)


def choose_ranks(matrices: Mapping[str, RankLosses], keep: float) -> dict[str, int]:
    """Choose ranks by matrix, 0 where it stays dense, so that ``keep`` of all numbers are stored and the least is lost.

    A loss counts relative to the matrix's own outputs: what the next layer makes of these is not known. The last step
    up, from the largest product that is smaller to the matrix itself, saves all that is lost by then.
    """
    ladders = {name: [matrix.rung(rank) for rank in matrix.ranks()] for name, matrix in matrices.items()}
    rungs = spend_budget(ladders, keep * sum(math.prod(matrix.shape) for matrix in matrices.values()))
    return {name: matrix.ranks()[rungs[name]] for name, matrix in matrices.items()}
