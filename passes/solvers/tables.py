"""Embeddings and heads in integers: matrices with a row for every word, solved some rows at a time.

A head is a linear like any other, and solved on what it reads. Where it is tied to the embedding, each of its rows is
also read as it is, and the error of that counts in: with rows' errors δ and the head's inputs x, the loss grows by
E[(δ·x)²] where a word is predicted and in proportion to |δ|² where it is read. Words are predicted about as often as
they are read, so that one ratio of the two serves for all rows, and a multiple of I added to E[x xᵀ] says it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from compress.lazy import torch
from compress.passes.solvers.by_factor import by_factor, rejoined
from compress.weights.forms import mask_of, masked, stacked
from compress.weights.stored import WeightReport

if TYPE_CHECKING:
    from compress.calibration.statistics import LinearInput
    from compress.passes.solvers.grid import Grid
    from compress.passes.solvers.solver import Solver
    from compress.weights.forms import Dense, Quantized, Weight

_ROWS = 8192
"""Rows that are solved together: a table is by far the largest matrix of a small model."""
_READ_AS_THEY_ARE = 0.15
"""The multiple of I that counts the errors of an embedding's rows in, as a share of the mean of diag E[x xᵀ].

It is the KL divergence under noise in SmolLM2's embedding over that under the same noise in its head: 0.14 to 0.18 for
noise of 5 and 10 %, in proportion to the table or to each of its rows."""


class SolvedTable(NamedTuple):
    """A table as it is stored, and how it was found."""

    weight: Quantized
    solver: str


def solve_table(
    pass_name: str,
    name: str,
    weight: Weight,
    solver: Solver,
    grid: Callable[[int], Grid],
    inputs: LinearInput | None,
    tied: bool,
) -> tuple[Weight, WeightReport]:
    """Solve a table ``name``, dense or a product, on the ``grid`` for its number of inputs.

    ``inputs`` are what a head reads; without them it is rounded to the nearest codes. ``tied``: it is the embedding as
    well. Raises PassError in the name of the pass where there are other forms.
    """

    def solve(leaves: Mapping[str, Dense], read: LinearInput | None) -> dict[str, SolvedTable]:
        return {leaf: _by_rows(matrix, solver, grid(matrix.shape[1]), read) for leaf, matrix in leaves.items()}

    gram = None if inputs is None else inputs.gram
    solved = by_factor(pass_name, {name: weight}, _with_rows_read(inputs) if inputs and tied else inputs, solve)
    stored = rejoined(name, weight, solved)
    described = "; ".join(dict.fromkeys(leaf.solver for leaf in solved.values()))
    return stored, WeightReport.of(described, weight.dequantize(), stored.dequantize(), gram)


def _by_rows(weight: Dense, solver: Solver, grid: Grid, inputs: LinearInput | None) -> SolvedTable:
    """Solve a dense table some rows at a time: they don't depend on each other."""
    mask, hessian, described = mask_of(weight), None, "rtn"
    if inputs is not None:
        hessian, described = solver.hessian(inputs, grid.group)
    masks = [None] * -(-weight.shape[0] // _ROWS) if mask is None else mask.split(_ROWS)
    parts = [masked(rows, rows_mask) for rows, rows_mask in zip(weight.tensor.split(_ROWS), masks, strict=True)]
    dtype = grid.scale_dtype(weight.tensor)  # one for all parts
    solved = [solver.propose(part, grid, hessian, dtype).quantized() for part in parts]
    return SolvedTable(replace(stacked(solved), mask=mask), described)


def _with_rows_read(inputs: LinearInput) -> LinearInput:
    """The inputs of a head whose rows are an embedding's as well."""
    share = _READ_AS_THEY_ARE * inputs.gram.diagonal().mean()
    return replace(inputs, gram=inputs.gram + share * torch.eye(len(inputs.gram)))
