"""Sparsity masks and their compensation: the solvers that ``sparse`` and ``sparse24`` share.

- magnitude: the smallest;
- wanda (Sun et al., arXiv 2306.11695): the smallest |w_ij| ‖x_j‖ of every output row;
- sparsegpt (Frantar & Alistarh, arXiv 2301.00774): in GPTQ's sweep, those of the smallest w_ij² / U_jj² as they stand
  when the sweep reaches them, each column's error made good by those that are still to come.

Then a fixed-mask refinement: what stays is moved to where ‖(W - Ŵ)X‖² is least, by conjugate gradients on each row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from compress.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from compress.passes.solvers.gptq import Hessian

SparsitySolver = Literal["magnitude", "wanda", "sparsegpt"]

BLOCK = 128
"""Columns that are swept together, and from which SparseGPT chooses at one time."""
_STEPS = 12
"""Of conjugate gradients. Each costs a product with the Gram."""

MaskRule = Callable[["Tensor"], "Tensor"]
"""What of a matrix ``[in, out]`` stays (bool), by scores of its shape: the higher, the more it is worth."""


def unstructured(ratio: float) -> MaskRule:
    """Mask without the share ``ratio`` of every output's inputs, rounded down."""

    def choose(scores: Tensor) -> Tensor:
        gone = scores.argsort(0)[: int(ratio * len(scores) + 1e-9)]
        return torch.ones_like(scores, dtype=torch.bool).scatter_(0, gone, False)

    return choose


def two_of_four(scores: Tensor) -> Tensor:
    """Mask of the two higher scores of every four inputs, aligned."""
    fours = scores.unflatten(0, (-1, 4))
    gone = fours.argsort(1)[:, :2]
    return torch.ones_like(fours, dtype=torch.bool).scatter_(1, gone, False).flatten(0, 1)


def score_mask(weight: Tensor, activity: Tensor | None, choose: MaskRule, nonzero: Tensor | None = None) -> Tensor:
    """Mask ``[out, in]`` of ``weight`` by magnitude, times the inputs' ``activity`` ``[in]`` if there is any.

    Where ``nonzero`` is False there is a zero already, and it counts among those that go.
    """
    scores = weight.abs() if activity is None else weight.abs() * activity
    return choose(_zeros_first(scores.T.contiguous(), None if nonzero is None else nonzero.T)).T.contiguous()


def sparsegpt(
    weight: Tensor, hessian: Hessian, choose: MaskRule, width: int = BLOCK, nonzero: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Sparsify a matrix ``[out, in]`` by SparseGPT, what stays compensating; returns it and its mask.

    The mask is chosen ``width`` columns at a time (4 for 2:4), which must divide `BLOCK`, when the sweep reaches them.
    ``hessian`` has the natural order of columns. ``nonzero`` as for `score_mask`.
    """
    upper = hessian.upper
    x = weight.float().T.contiguous()  # [in, out]: a column of the matrix is contiguous here
    mask = torch.ones_like(x, dtype=torch.bool)
    old = None if nonzero is None else nonzero.T
    for start in range(0, len(x), BLOCK):
        end = min(start + BLOCK, len(x))
        errors = torch.empty(end - start, x.shape[1])
        for j in range(start, end):
            if (j - start) % width == 0:
                here = slice(j, min(j + width, end))
                scores = (x[here] / upper.diagonal()[here, None]).square()
                mask[here] = choose(_zeros_first(scores, None if old is None else old[here]))
            gone = x[j] * ~mask[j]
            x[j] -= gone
            error = torch.div(gone, upper[j, j], out=errors[j - start])
            x[j + 1 : end].addr_(upper[j, j + 1 : end], error, alpha=-1)
        x[end:].addmm_(upper[start:end, end:].T, errors, alpha=-1)
    return x.T.contiguous(), mask.T.contiguous()


def refine_fixed_mask(weight: Tensor, mask: Tensor, target: Tensor, gram: Tensor, steps: int = _STEPS) -> Tensor:
    """Refine a matrix ``[out, in]`` under a fixed ``mask`` towards least ‖(target - Ŵ)X‖², from ``weight``.

    Conjugate gradients on every row by itself, preconditioned by the diagonal of ``gram`` H = E[x xᵀ] ``[in, in]``,
    which must be positive definite. Each step lowers the loss, or leaves it where it is least already.
    """
    scale = gram.diagonal()
    refined = weight * mask
    residual = ((target - refined) @ gram) * mask
    direction = residual / scale
    size = (residual * direction).sum(1, keepdim=True)
    for _ in range(steps):
        product = (direction @ gram) * mask
        length = size / (direction * product).sum(1, keepdim=True).clamp(min=1e-30)
        refined = refined + length * direction
        residual = residual - length * product
        conditioned = residual / scale
        before, size = size, (residual * conditioned).sum(1, keepdim=True)
        direction = conditioned + size / before.clamp(min=1e-30) * direction
    return refined


def _zeros_first(scores: Tensor, nonzero: Tensor | None) -> Tensor:
    """Scores with those that are zero already below all others."""
    return scores if nonzero is None else scores.masked_fill(~nonzero, -1.0)
