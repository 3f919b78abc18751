"""GPTQ: rounding column by column, each column's error compensated by those that are still to come.

Frantar et al., arXiv 2210.17323, with three refinements:

- mismatch correction (Qronos, arXiv 2505.11695; GPTAQ, arXiv 2504.02692): the weights are first moved to where they
  best reproduce the *original* model's outputs on the inputs that the compressed prefix really delivers;
- group-aware order (arXiv 2505.14638): columns by falling diag H within their groups, and the groups by their largest,
  so that what matters is rounded while most can still make it good, and groups stay whole;
- scales are chosen when the sweep reaches their group, from the weights as they are by then, by the loss that the
  sweep itself has with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from compress.lazy import torch
from compress.passes.solvers.grid import Proposal
from compress.passes.solvers.rounding import best_scales

if TYPE_CHECKING:
    from torch import Tensor

    from compress.passes.solvers.grid import Grid

Order = Literal["natural", "gar"]

DAMPING = 0.01
"""λ, as a share of the mean of diag H, inputs that are always zero left out."""
CORRECTION_DAMPING = 0.1
"""λ of the mismatch correction likewise: D, a difference of inputs, is known less well than H, and little text would be
learned by heart (SmolLM2 in 4 bits: KL × 0.90 on 32 windows of calibration and × 0.95 on 128, against 0.01)."""
_RETRIES = 4
_BLOCK = 128
"""Columns that are swept together before what is right of them is brought up to date."""


class NotPositiveDefiniteError(Exception):
    """The inputs' Gram matrix can't be factored, however much it is damped."""


class Hessian:
    """H = E[x xᵀ] of a linear's inputs, damped and factored once for every matrix that reads them.

    ``mismatch`` is D = E[(y - x) xᵀ], y being the original model's inputs. In float64 throughout. ``damping`` is what
    it took: `DAMPING`, ten times more with each retry. Raises NotPositiveDefiniteError where no retry helps.

    ``order`` int64 ``[in]``: the sweep's columns. ``upper`` float32 ``[in, in]``: the upper Cholesky factor of the
    inverse, ``sorted`` float32 ``[in, in]``: the damped H itself, both in that order. ``dead`` bool ``[in]``: inputs
    that are always zero. ``correction`` float64 ``[in, in]``: D (H + λI)⁻¹ with ``correction_damping`` as λ's share (at
    least ``damping``), or None without a mismatch.
    """

    def __init__(
        self,
        gram: Tensor,
        mismatch: Tensor | None,
        group: int,
        order: Order,
        correction_damping: float = CORRECTION_DAMPING,
    ) -> None:
        damped = gram.to(torch.float64, copy=True)
        diagonal = damped.diagonal()  # a view: what is added to it is added to the matrix
        self.dead = diagonal == 0  # inputs that are always zero: their weights can be anything, so they become 0
        diagonal += self.dead * diagonal[~self.dead].mean()  # not 1: the inputs' unit must not matter
        self.order = _group_aware(diagonal, group) if order == "gar" else torch.arange(len(diagonal))
        mean = diagonal.mean()
        shift = DAMPING * mean
        diagonal += shift
        backwards = self.order.flip(0)
        for attempt in range(_RETRIES):
            self.damping = DAMPING * 10**attempt
            # Hᵖ = R Rᵀ with R upper triangular, so that U = R⁻¹ is the upper factor of the inverse: H⁻¹ = Uᵀ U.
            root, failed = torch.linalg.cholesky_ex(damped[backwards][:, backwards])
            if not failed and bool(torch.isfinite(root).all()):
                break
            diagonal += 9 * shift
            shift = 10 * shift
        else:
            raise NotPositiveDefiniteError
        root = root.flip(0, 1)
        self.upper = torch.linalg.solve_triangular(root, torch.eye(len(root), dtype=root.dtype), upper=True).float()
        del root
        self.sorted = damped.float()[self.order][:, self.order]
        self.correction: Tensor | None = None
        if mismatch is not None:
            diagonal += max(correction_damping - self.damping, 0.0) * mean
            self.correction = torch.linalg.solve(damped, mismatch.double().T).T

    def corrected(self, weight: Tensor) -> Tensor:
        """W + W D (H + λI)⁻¹: the float weights ``[out, in]`` that compensate best for the inputs' mismatch."""
        moved = weight.double()
        if self.correction is not None:
            moved = moved + moved @ self.correction
        return moved.masked_fill(self.dead, 0.0).float()


def gptq(
    weight: Tensor, hessian: Hessian, grid: Grid, search: bool, dtype: torch.dtype, mask: Tensor | None = None
) -> Proposal:
    """Round ``weight`` ``[out, in]`` column by column for a Hessian that was made for the grid's group.

    ``search`` chooses each group's scale by the sweep's own loss, else it spans the group's range. Scales are stored in
    ``dtype``. Where ``mask`` is False the weight stays zero, and the error of that is made good like any other.
    """
    order, upper = hessian.order, hessian.upper
    x = weight.T[order].contiguous()  # [in, out]: a column of the matrix is contiguous here
    nonzero = None if mask is None else mask.T[order]
    inputs, outputs = x.shape
    values, scales = torch.empty_like(x), torch.empty(inputs // grid.group, outputs)
    zeros = None if grid.symmetric else torch.empty_like(scales)
    block = max(_BLOCK, grid.group)
    for start in range(0, inputs, block):
        end = min(start + block, inputs)
        errors = torch.empty(end - start, outputs)
        for first in range(start, end, grid.group):
            here = slice(first, first + grid.group)
            if search and grid.group <= _BLOCK:
                scale, zero = _sweep_scales(
                    x[here], upper[here, here], grid, dtype, None if nonzero is None else nonzero[here]
                )
            else:
                scale, zero = best_scales(x[here], grid, search, dtype, hessian.sorted[here, here])
            scales[first // grid.group] = scale
            if zeros is not None and zero is not None:
                zeros[first // grid.group] = zero
            shift = 0.0 if zero is None else zero
            for j in range(first, first + grid.group):
                torch.div(x[j], scale, out=values[j])
                values[j] += shift
                if nonzero is not None:
                    values[j] = torch.where(nonzero[j], values[j], torch.as_tensor(shift))
                stored = (grid.round_to_codes(values[j]) - shift).mul_(scale)
                error = torch.div(x[j] - stored, upper[j, j], out=errors[j - start])
                x[j + 1 : end].addr_(upper[j, j + 1 : end], error, alpha=-1)
        x[end:].addmm_(upper[start:end, end:].T, errors, alpha=-1)
    back = torch.argsort(order)
    groups = torch.argsort(order.view(-1, grid.group)[:, 0] // grid.group)
    return Proposal(
        grid,
        values[back].T.contiguous(),
        scales[groups].T.contiguous(),
        None if zeros is None else zeros[groups].T.contiguous(),
        dtype,
    )


def _sweep_scales(
    x: Tensor, upper: Tensor, grid: Grid, dtype: torch.dtype, nonzero: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The scale and zero point ``[out]`` of one group ``x`` ``[group, out]`` with which its sweep loses least.

    All candidates are swept side by side; a sweep's loss is the sum of its squared errors (over the diagonal of U).
    """
    scales, zeros = grid.candidate_scales(x, True, dtype)
    count, outputs = scales.shape
    scale, shift = scales.flatten(), 0.0 if zeros is None else zeros.flatten()
    remaining = x.repeat(1, count)
    loss = torch.zeros(count * outputs)
    for j in range(grid.group):
        stored = (grid.round_to_codes(remaining[j] / scale + shift) - shift).mul_(scale)
        if nonzero is not None:
            stored.mul_(nonzero[j].repeat(count))
        error = stored.sub_(remaining[j]).div_(-upper[j, j])
        loss.addcmul_(error, error)
        remaining[j + 1 :].addr_(upper[j, j + 1 :], error, alpha=-1)
    best = loss.view(count, outputs).argmin(0, keepdim=True)
    return scales.gather(0, best)[0], None if zeros is None else zeros.gather(0, best)[0]


def _group_aware(diagonal: Tensor, group: int) -> Tensor:
    """The order of columns: by falling diagonal within each group, the groups by their largest."""
    grouped = diagonal.view(-1, group)
    within = grouped.argsort(1, descending=True) + torch.arange(0, len(diagonal), group)[:, None]
    return within[grouped.amax(1).argsort(descending=True)].flatten()
