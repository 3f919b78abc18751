"""Weight forms in training: each matrix as a differentiable function of the numbers that it is stored as.

Codes go through the rounding (straight-through), their scales beside them; float matrices and factors as they are.
Zeros that a mask promises stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from compress.passes.solvers.grid import Grid, Proposal
from compress.weights.forms import Dense, Factored, Quantized, Residual, Weight, mask_of

SCALES_RATE = 1e-3
"""Step size of scales and vectors, relative to themselves, wherever they are trained."""


@dataclass(frozen=True)
class Rates:
    """Step sizes: of codes, in codes; of scales, float matrices and vectors, relative to themselves.

    Of a ``whole_model`` those of float matrices are divided by the root of their inputs: Adam's steps agree over them,
    weights don't, so that what a step adds to an output, relative to it, grows with that root (Yang et al., arXiv
    2203.03466).
    """

    codes: float
    scales: float
    floats: float = 0.0
    whole_model: bool = False
    vectors: float = SCALES_RATE


class Trained(Protocol):
    """A matrix in training."""

    def matrix(self) -> Tensor:
        """The dequantized matrix ``[out, in]``, differentiable."""

    def groups(self, rates: Rates) -> list[dict[str, object]]:
        """Parameters in groups with a step size each, as optimizers take them."""


class Form(Trained, Protocol):
    """A weight form in training."""

    def weight(self) -> Weight:
        """The trained matrix, in the form that it had."""


class Leaf(Trained, Protocol):
    """A float matrix or integers in training: a weight by itself, or a part of one."""

    def weight(self) -> Dense | Quantized:
        """The trained matrix, in the form that it had."""


class _Round(torch.autograd.Function):
    """Rounding that lets gradients through (straight-through estimator, Bengio et al., arXiv 1308.3432)."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient


def as_stored(scale: Tensor, dtype: torch.dtype) -> Tensor:
    """Float32 scales rounded to the type that they are stored in, gradients passing through."""
    return scale + (scale.detach().to(dtype) - scale.detach())


class Codes:
    """Proposed codes and their scales."""

    def __init__(self, proposal: Proposal, mask: Tensor | None) -> None:
        self.start = proposal
        self.mask = mask
        self.values = proposal.values.clone().requires_grad_()
        self.gain = torch.ones_like(proposal.scale).requires_grad_()

    def matrix(self) -> Tensor:
        """The dequantized matrix ``[out, in]``, differentiable."""
        grid = self.start.grid
        rounded: Tensor = _Round.apply(self.values)  # type: ignore[no-untyped-call]
        codes: Tensor = rounded.clamp(grid.qmin, grid.qmax).unflatten(1, (-1, grid.group))
        if self.start.zero is not None:
            codes = codes - self.start.zero.unsqueeze(-1)
        scale = as_stored(self.start.scale * self.gain, self.start.dtype)
        matrix: Tensor = (codes * scale.unsqueeze(-1)).flatten(1)
        return matrix if self.mask is None else matrix * self.mask  # so that no gradient moves a frozen zero

    def groups(self, rates: Rates) -> list[dict[str, object]]:
        """Parameters: the codes, and the scales' factors."""
        return [{"params": [self.values], "lr": rates.codes}, {"params": [self.gain], "lr": rates.scales}]

    def proposal(self) -> Proposal:
        """Trained codes and scales, before they are rounded."""
        return replace(self.start, values=self.values.detach(), scale=self.start.scale * self.gain.detach())


class Integers(Codes):
    """A quantized matrix, whose codes start where they are. Inputs that are rounded too bear no larger codes."""

    def __init__(self, start: Quantized) -> None:
        zero = start.zero_point
        largest = int(start.codes.abs().max()) if start.act == "dynamic" else None
        grid = Grid(start.bits, start.group, zero is None, largest)
        zeros = None if zero is None else zero.float()
        proposal = Proposal(grid, start.codes.float(), start.scale.float(), zeros, start.scale.dtype)
        super().__init__(proposal, mask_of(start))
        self.exact = start

    def weight(self) -> Quantized:
        """The matrix with its trained codes and scales."""
        trained = self.proposal().quantized()
        return replace(self.exact, codes=trained.codes, scale=trained.scale)


class TrainableDense:
    """A float matrix in training."""

    def __init__(self, start: Dense) -> None:
        self.start = start
        self.values = start.dequantize().clone().requires_grad_()

    def matrix(self) -> Tensor:
        """The matrix, masked so that no gradient moves a frozen zero."""
        mask = mask_of(self.start)
        return self.values if mask is None else self.values * mask

    def groups(self, rates: Rates) -> list[dict[str, object]]:
        """Parameters: all numbers of the matrix."""
        size = float(self.values.detach().abs().mean())
        width = math.sqrt(self.values.shape[1]) if rates.whole_model else 1.0
        return [{"params": [self.values], "lr": rates.floats * size / width}]

    def weight(self) -> Dense:
        """The trained matrix in its dtype."""
        return replace(self.start, tensor=self.matrix().detach().to(self.start.tensor.dtype))


class Product:
    """The two factors of a product, both in training."""

    def __init__(self, start: Factored, left: Trained, right: Trained) -> None:
        self.start, self.left, self.right = start, left, right

    def matrix(self) -> Tensor:
        """The product of the two factors."""
        return self.start.multiplied(self.left.matrix(), self.right.matrix())

    def groups(self, rates: Rates) -> list[dict[str, object]]:
        """Parameters of both factors."""
        return self.left.groups(rates) + self.right.groups(rates)


LeafTraining = Callable[[Dense | Quantized], Leaf]
"""What is trained of a float matrix or of integers."""


class Factors(Product):
    """A stored low-rank product in training."""

    def __init__(self, start: Factored, leaf: LeafTraining) -> None:
        self.parts = leaf(start.left), leaf(start.right)
        super().__init__(start, *self.parts)

    def weight(self) -> Factored:
        """The trained factors, of the rank that they had."""
        left, right = (part.weight() for part in self.parts)
        return replace(self.start, left=left, right=right)


class Sum:
    """Integers and their low-rank correction, both in training."""

    def __init__(self, start: Residual, leaf: LeafTraining) -> None:
        self.base, self.correction = leaf(start.base), Factors(start.correction, leaf)

    def matrix(self) -> Tensor:
        """The sum of the integers and their correction."""
        return self.base.matrix() + self.correction.matrix()

    def groups(self, rates: Rates) -> list[dict[str, object]]:
        """Parameters of the integers and of their correction."""
        return self.base.groups(rates) + self.correction.groups(rates)

    def weight(self) -> Residual:
        """The trained integers with their trained correction."""
        base = self.base.weight()
        assert isinstance(base, Quantized), "integers in training are integers"
        return Residual(base, self.correction.weight())


def numbers(weight: Dense | Quantized) -> Leaf:
    """All numbers of a matrix in training."""
    return Integers(weight) if isinstance(weight, Quantized) else TrainableDense(weight)


def trainable(weight: Weight, leaf: LeafTraining = numbers) -> Form:
    """Prepare a weight of whatever form for training in it."""
    match weight:
        case Factored():
            return Factors(weight, leaf)
        case Residual():
            return Sum(weight, leaf)
    return leaf(weight)
