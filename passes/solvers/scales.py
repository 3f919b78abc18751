"""Weight forms in training whose integers and float matrices stay: their scales move alone.

After the second phase of EfficientQAT (Chen et al., arXiv 2407.11062). Integers stay in a byte each, and no more than
one number in a group has a gradient and moments.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from compress.passes.solvers.parameters import Leaf, Rates, as_stored
from compress.weights.forms import Dense, Quantized


def relative_rate(bits: int) -> float:
    """Step size for scales beside integers of so many bits, relative to that for 2 bits."""
    return math.exp2(2 - bits)


class Scales:
    """Integers whose scales are in training."""

    def __init__(self, start: Quantized) -> None:
        self.start = start
        self.gain = torch.ones(start.scale.shape).requires_grad_()

    def matrix(self) -> Tensor:
        """The dequantized matrix ``[out, in]``, differentiable."""
        return replace(self.start, scale=self._scale()).dequantize()

    def groups(self, rates: Rates) -> list[dict[str, object]]:
        """Parameters: the scales' factors, which a whole model's rates move in proportion to the error of rounding."""
        share = relative_rate(self.start.bits) if rates.whole_model else 1.0
        return [{"params": [self.gain], "lr": rates.scales * share}]

    def weight(self) -> Quantized:
        """The integers with their trained scales."""
        return replace(self.start, scale=self._scale().detach().to(self.start.scale.dtype))

    def _scale(self) -> Tensor:
        return as_stored(self.start.scale.float() * self.gain, self.start.scale.dtype)


class Fixed:
    """A float matrix that stays as it is."""

    def __init__(self, start: Dense) -> None:
        self.start = start

    def matrix(self) -> Tensor:
        """The matrix ``[out, in]``."""
        return self.start.dequantize()

    def groups(self, rates: Rates) -> list[dict[str, object]]:
        """No parameters."""
        return []

    def weight(self) -> Dense:
        """The matrix."""
        return self.start


def scales(weight: Dense | Quantized) -> Leaf:
    """The scales of a matrix in training, if it has any."""
    return Scales(weight) if isinstance(weight, Quantized) else Fixed(weight)
