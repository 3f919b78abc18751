"""Round to nearest: the simplest solver, and the baseline of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.lazy import torch
from compress.passes.solvers.grid import Proposal

if TYPE_CHECKING:
    from torch import Tensor

    from compress.passes.solvers.grid import Grid


def round_to_nearest(
    weight: Tensor,
    grid: Grid,
    search: bool = False,
    mask: Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> Proposal:
    """Round every weight of ``weight`` ``[out, in]`` by itself; ``search`` takes the scales of least squared error.

    Where ``mask`` is False a zero stays a zero. Scales are stored in ``dtype``, by default the grid's for the matrix.
    """
    dtype = grid.scale_dtype(weight) if dtype is None else dtype
    rows = weight.float().unflatten(1, (-1, grid.group)).flatten(0, 1)  # one group each
    scale, zero = best_scales(rows.T, grid, search, dtype)
    values = rows / scale[:, None] + (0 if zero is None else zero[:, None])
    shape = (weight.shape[0], -1)
    values = values.reshape(weight.shape)
    scale, zero = scale.reshape(shape), None if zero is None else zero.reshape(shape)
    return Proposal(grid, keep_zeros(values, zero, mask, grid.group), scale, zero, dtype)


def best_scales(
    x: Tensor, grid: Grid, search: bool, dtype: torch.dtype, gram: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Scale and zero point ``[out]`` of groups ``x`` ``[group, out]`` whose rounding loses least.

    The cost is Σ(w - ŵ)², or (w - ŵ)ᵀ H (w - ŵ) with ``gram`` H ``[group, group]`` of the group's inputs. Candidates
    are tried one after another, so that memory holds one.
    """
    scales, zeros = grid.candidate_scales(x, search, dtype)
    if len(scales) == 1:
        return scales[0], None if zeros is None else zeros[0]
    costs = []
    for i, scale in enumerate(scales):
        zero = 0 if zeros is None else zeros[i]
        off = (grid.round_to_codes(x / scale + zero) - zero).mul_(scale).sub_(x)
        costs.append((off.square() if gram is None else (gram @ off).mul_(off)).sum(0))
    best = torch.stack(costs).argmin(0, keepdim=True)
    return scales.gather(0, best)[0], None if zeros is None else zeros.gather(0, best)[0]


def keep_zeros(values: Tensor, zero: Tensor | None, mask: Tensor | None, group: int) -> Tensor:
    """Set proposed codes ``[out, in]`` to zero where ``mask`` is False."""
    if mask is None:
        return values
    return torch.where(mask, values, 0.0 if zero is None else zero.repeat_interleave(group, 1))
