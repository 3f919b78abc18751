"""Nyström pruning of a matrix's inputs: which to drop, and what the others' weights become to compensate.

With C = E[x xᵀ] of the inputs that reach the matrix W, the weights V on the kept inputs S that come closest to its
outputs W x are Nyström's (MoDeGPT, Lin et al., arXiv 2408.09632). They are held by a ridge to what they were, not to
zero: few tokens then move them little. That the inputs are no longer the original model's is not made up for here: with
that correction (see `gptq`) SmolLM2's hidden states exploded in the middle layers; why is not known.

What goes is found by elimination (ZipLM, Kurtic et al., arXiv 2302.04089): with P = (C + λI)⁻¹ at hand, dropping the
inputs R moves the others' weights by -W_R P_RR⁻¹ P_RS, and P by -P_SR P_RR⁻¹ P_RS. All in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

_ROUNDS = 8
"""Steps in which all that is to go goes: after each, what is left is judged anew."""
_RIDGE_SCALE = 4.0
"""λ over the mean of diag C, times the tokens and over the inputs: less text, less that it can tell."""


def ridge(gram: Tensor, tokens: int) -> float:
    """λ for a Gram matrix ``[in, in]`` of so many tokens: the fewer tokens, the larger."""
    return _RIDGE_SCALE * len(gram) / tokens * float(gram.diagonal().double().mean())


def eliminate(weight: Tensor, gram: Tensor, shift: float, units: int, count: int) -> tuple[Tensor, Tensor]:
    """Drop ``count`` of ``units`` equal runs of the inputs of ``weight`` ``[out, in]``; the others compensate.

    Returns which runs are kept, bool ``[units]``, and the weights of the kept inputs, ``[out, kept]``. They minimize
    E‖W x - V x_S‖² + λ‖V - W_S‖² with λ = ``shift`` > 0: V = W_S + W_R C_RS (C_SS + λI)⁻¹, R being what goes.
    """
    size = weight.shape[1] // units
    inverse = torch.linalg.inv(gram.double() + shift * torch.eye(len(gram), dtype=torch.float64))
    remaining = weight.double()
    kept_units = torch.ones(units, dtype=torch.bool)
    for most in torch.arange(count).tensor_split(min(count, _ROUNDS)):
        cost = _costs(remaining, inverse, shift, units).masked_fill(~kept_units, torch.inf)
        going = cost.argsort()[: len(most)]
        here = (going[:, None] * size + torch.arange(size)).flatten()
        step = torch.linalg.solve(inverse[here][:, here], inverse[here])
        remaining = remaining - remaining[:, here] @ step
        inverse -= inverse[:, here] @ step
        kept_units[going] = False
    return kept_units, remaining[:, kept_units.repeat_interleave(size)].float()


def energy(weight: Tensor, gram: Tensor, units: int) -> Tensor:
    """Loss of dropping each of ``units`` runs of inputs uncompensated: E‖W_R x_R‖² ``[units]``."""
    columns, corners = _by_unit(weight.double(), gram.double(), units)
    cost: Tensor = (columns * (corners @ columns)).sum((1, 2))
    return cost


def _costs(remaining: Tensor, inverse: Tensor, shift: float, units: int) -> Tensor:
    """Increase of E‖W x - V x_S‖² by dropping each run, once the others stand in for it, ``[units]``.

    With w its columns, tr w (P_RR⁻¹ - λ P_RR⁻¹ (P P)_RR P_RR⁻¹) wᵀ: the second term is what the ridge counts and the
    output doesn't.
    """
    columns, corners = _by_unit(remaining, inverse, units)
    rows = inverse.unflatten(0, (units, -1))
    gone = corners.diagonal(dim1=1, dim2=2).sum(1) <= 0
    corners[gone] = torch.eye(corners.shape[1], dtype=corners.dtype)
    solved = torch.linalg.solve(corners, columns)
    cost: Tensor = (columns * solved).sum((1, 2)) - shift * (solved * (rows @ rows.mT @ solved)).sum((1, 2))
    return cost


def _by_unit(weight: Tensor, square: Tensor, units: int) -> tuple[Tensor, Tensor]:
    """The columns of each unit, ``[units, size, out]``, and its corner of a square matrix, ``[units, size, size]``."""
    columns = weight.unflatten(1, (units, -1)).permute(1, 2, 0)
    corners = square.unflatten(0, (units, -1)).unflatten(2, (units, -1)).diagonal(dim1=0, dim2=2)
    return columns, corners.permute(2, 0, 1).contiguous()
