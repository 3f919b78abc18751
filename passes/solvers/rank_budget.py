"""Rank budgets: spend a budget of bytes over low-rank products of many matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compress.passes.solvers.budget import Rung, spend_budget
from compress.weights.stored import StoredForm

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ProductSize:
    """Bytes of products in place of a matrix ``shape`` ``[out, in]`` with so many bytes a number."""

    shape: tuple[int, int]
    itemsize: int
    pivoted: bool

    @property
    def dense(self) -> int:
        """Bytes of the matrix itself."""
        return math.prod(self.shape) * self.itemsize

    def form(self, rank: int) -> StoredForm:
        """The form of a product of that rank."""
        columns, computed = self.shape[1], self.shape[0] - rank * self.pivoted
        left, right = (StoredForm.dense(shape, self.itemsize) for shape in ((computed, rank), (rank, columns)))
        return StoredForm.product(left, right, self.pivoted)

    def nbytes(self, rank: int) -> int:
        """Bytes of a product of that rank."""
        return self.form(rank).nbytes

    def shrinks(self, rank: int) -> bool:
        """Whether a product of that rank is smaller than the matrix; rank 0 is none."""
        return 0 < rank < min(self.shape) and self.nbytes(rank) < self.dense


@dataclass(frozen=True)
class RankLosses:
    """Losses of each direction that a product of a matrix leaves out, largest first."""

    size: ProductSize
    losses: Tensor

    def ranks(self) -> list[int]:
        """Ranks to choose from, the matrix itself last, as 0."""
        step, largest = rank_step(self.size.shape), min(self.size.shape)
        return [*(rank for rank in range(step, largest, step) if self.size.shrinks(rank)), 0]

    def rung(self, rank: int) -> Rung:
        """Cost of a rank in bytes, and the share of the losses that it leaves out."""
        if rank == 0:
            return Rung(self.size.dense, 0.0)
        return Rung(self.size.nbytes(rank), float(self.losses[rank:].sum()) / (float(self.losses.sum()) or 1.0))


def rank_step(shape: tuple[int, int]) -> int:
    """Step of ranks, so that groups of a left factor's inputs stay whole when it is quantized."""
    return 32 if min(shape) >= 128 else 8


def choose_ranks(matrices: Mapping[str, RankLosses], keep: float) -> dict[str, int]:
    """Choose ranks by matrix, 0 where it stays dense, so that ``keep`` of all bytes are stored and the least is lost.

    A loss counts relative to the matrix's own outputs: what the next layer makes of these is not known. The last step
    up, from the largest product that is smaller to the matrix itself, saves all that is lost by then.
    """
    ladders = {name: [matrix.rung(rank) for rank in matrix.ranks()] for name, matrix in matrices.items()}
    rungs = spend_budget(ladders, keep * sum(matrix.size.dense for matrix in matrices.values()))
    return {name: matrix.ranks()[rungs[name]] for name, matrix in matrices.items()}
