"""Choose and run the integer solver (RTN, GPTQ), with fallbacks and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from compress.calibration.statistics import Statistic
from compress.lazy import torch
from compress.passes.solvers.by_factor import leaf_names
from compress.passes.solvers.gptq import CORRECTION_DAMPING, DAMPING, Hessian, NotPositiveDefiniteError, gptq
from compress.passes.solvers.rounding import round_to_nearest
from compress.weights.forms import Residual, mask_of, masked, stacked_masks
from compress.weights.stored import WeightReport

if TYPE_CHECKING:
    from torch import Tensor

    from compress.calibration.statistics import LinearInput
    from compress.passes.solvers.gptq import Order
    from compress.passes.solvers.grid import Grid, Proposal
    from compress.weights.forms import Act, Dense, Quantized, Weight

_MIN_TOKENS_PER_INPUT = 1 / 8
"""With fewer calibration tokens for every input of a linear, as of a rarely used expert, its Hessian tells nothing."""
_ADVISED_TOKENS_PER_INPUT = 16
"""Calibration tokens for every input of a linear, below which its Hessian is a rough one."""


@dataclass(frozen=True)
class Solved:
    """A matrix, the codes proposed for it, how they were found, and E[x xᵀ] of its inputs where that is known."""

    exact: Dense
    proposal: Proposal
    solver: str
    gram: Tensor | None
    act: Act | None = None

    @cached_property
    def weight(self) -> Quantized:
        """The matrix as it is stored."""
        return replace(self.proposal.quantized(act=self.act), mask=mask_of(self.exact))

    def report(self) -> WeightReport:
        """Report of the matrix's error."""
        return WeightReport.of(self.solver, self.exact.dequantize(), self.weight.dequantize(), self.gram)


@dataclass(frozen=True)
class Solver:
    """Solver of integer matrices: the choices that all integer passes offer.

    ``search`` looks for the scale with the least error, ``mismatch`` aims at the original model's outputs.
    """

    method: Literal["rtn", "gptq"]
    search: bool
    order: Order
    mismatch: bool

    def solve(
        self, weights: Mapping[str, Dense], grids: Mapping[str, Grid], inputs: LinearInput | None
    ) -> dict[str, Solved]:
        """Solve matrices that read the same ``inputs`` (None: unknown), each on its grid, all grids of one group.

        Those that share a grid are solved as one, stacked along their outputs: the work is the same, and done in fewer
        and larger steps.
        """
        gram = None if inputs is None else _gram(inputs)
        hessian, name_of_solver = self.hessian(inputs, next(iter(grids.values())).group) if grids else (None, "")
        solved: dict[str, Solved] = {}
        for grid in dict.fromkeys(grids.values()):
            names = [name for name in weights if grids[name] == grid]
            parts = [weights[name] for name in names]
            proposal = self.propose(stack(parts), grid, hessian)
            cuts = proposal.split([part.shape[0] for part in parts])
            for name, exact, cut in zip(names, parts, cuts, strict=True):
                zeros = not bool(exact.tensor.any())
                solved[name] = Solved(exact, cut, "exact (all zeros)" if zeros else name_of_solver, gram)
        return solved

    def plain(self, weight: Dense, grid: Grid, dtype: torch.dtype) -> Proposal:
        """Round a matrix to the nearest codes; its scales are stored in ``dtype``."""
        return round_to_nearest(weight.tensor, grid, self.search, mask_of(weight), dtype)

    def propose(self, weight: Dense, grid: Grid, hessian: Hessian | None, dtype: torch.dtype | None = None) -> Proposal:
        """Propose codes for a matrix: by GPTQ with its inputs' factored Hessian, or without one the nearest.

        Scales are stored in ``dtype``, by default the grid's for the matrix.
        """
        dtype = dtype or grid.scale_dtype(weight.tensor)
        if hessian is None:
            return self.plain(weight, grid, dtype)
        mask = mask_of(weight)
        # What chose the zeros aimed at the original already: corrected twice, weights overshoot, and are cut off there.
        aim = hessian.corrected(weight.tensor) if mask is None else weight.tensor
        return gptq(aim, hessian, grid, self.search, dtype, mask)

    def hessian(self, inputs: LinearInput | None, group: int) -> tuple[Hessian | None, str]:
        """The factored Hessian and what to call the solver; None where there is nothing to solve with."""
        if self.method == "rtn":
            return None, "rtn"
        hessian, note = factor_hessian(inputs, self.mismatch, group, self.order)
        if hessian is None:
            return None, f"rtn (fallback: {note})"
        return hessian, f"gptq ({note})" if note else "gptq"


def factor_hessian(
    inputs: LinearInput | None,
    mismatch: bool,
    group: int,
    order: Order,
    correction_damping: float = CORRECTION_DAMPING,
) -> tuple[Hessian | None, str]:
    """Factor the inputs' Hessian; with a note for the report, or None with the reason why there is none.

    ``mismatch`` takes in how the original model's inputs differ, with ``correction_damping``.
    """
    if inputs is None:
        return None, "no calibration text reaches it"
    if inputs.tokens < _MIN_TOKENS_PER_INPUT * len(inputs.gram):
        return None, f"only {inputs.tokens} calibration tokens reach it"
    if not bool(inputs.gram.diagonal().any()):
        return None, "its inputs are zero on all of the calibration text"
    try:
        hessian = Hessian(inputs.gram, inputs.mismatch if mismatch else None, group, order, correction_damping)
    except NotPositiveDefiniteError:
        return None, "its Hessian is not positive definite"
    advised = _ADVISED_TOKENS_PER_INPUT * len(inputs.gram)
    notes = [
        *([f"damping {hessian.damping:g}"] if hessian.damping > DAMPING else []),
        *([f"{inputs.tokens} calibration tokens, {advised} advised"] if inputs.tokens < advised else []),
    ]
    return hessian, "; ".join(notes)


def report(name: str, exact: Weight, stored: Weight, solved: Mapping[str, Solved]) -> WeightReport:
    """Report what storing the matrix ``name`` lost, its factors together where it is a product."""
    leaves = [solved[leaf] for leaf in leaf_names(name, exact)]
    solver = "; ".join(dict.fromkeys(leaf.solver for leaf in leaves))
    if isinstance(stored, Residual):
        solver = f"{solver}, repaired with rank {stored.correction.right.shape[0]}"
    # a product's right factor, the last, reads what the product reads
    return WeightReport.of(solver, exact.dequantize(), stored.dequantize(), leaves[-1].gram)


def stack(parts: Sequence[Dense]) -> Dense:
    """Stack float matrices along their outputs, with the zeros that any of them keeps."""
    if len(parts) == 1:
        return parts[0]
    return masked(torch.cat([part.tensor for part in parts]), stacked_masks(parts))


def _gram(inputs: LinearInput) -> Tensor:
    """E[x xᵀ], from the sampled rows where no more was asked for."""
    return inputs.gram if inputs.level >= Statistic.GRAM else inputs.sample.T @ inputs.sample / len(inputs.sample)
