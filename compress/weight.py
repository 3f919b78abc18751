"""Weight forms: how one matrix is stored. Passes turn one form into another, exporters pack them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

Act = Literal["dynamic"]


@dataclass(frozen=True)
class Dense:
    """A plain float matrix ``[out, in]``.

    ``mask`` (bool, same shape) is False where every later pass must keep a zero.
    """

    tensor: Tensor
    mask: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.tensor.shape[0], self.tensor.shape[1]

    def dequantize(self) -> Tensor:
        """The matrix in float32, ``[out, in]``."""
        return self.tensor.float()

    def nbytes(self) -> int:
        """Bytes as stored."""
        return self.tensor.numel() * self.tensor.element_size()


@dataclass(frozen=True)
class Quantized:
    """Integers and scales: the weight is ``(codes - zero_point) * scale``, group by group along the inputs.

    ``codes`` int8 ``[out, in]``, one code a byte, signed; ``scale`` float ``[out, in / group]``, in the dtype that is
    stored; ``zero_point`` int8 of the scale's shape, or None where symmetric; ``group`` inputs share a scale (all of
    them: per channel). ``act="dynamic"`` asks the runtime to quantize the inputs too, to 8 bits, as they come.
    """

    codes: Tensor
    scale: Tensor
    bits: int
    group: int
    zero_point: Tensor | None = None
    act: Act | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.codes.shape[0], self.codes.shape[1]

    @property
    def per_channel(self) -> bool:
        """Whether one scale serves a whole output channel."""
        return self.group == self.codes.shape[1]

    def dequantize(self) -> Tensor:
        """The matrix in float32, ``[out, in]``."""
        grouped: Tensor = self.codes.float().unflatten(1, (-1, self.group))
        if self.zero_point is not None:
            grouped = grouped - self.zero_point.float().unsqueeze(-1)
        return (grouped * self.scale.float().unsqueeze(-1)).flatten(1)

    def nbytes(self) -> int:
        """Bytes as stored: codes and zero points packed to ``bits``, scales in their dtype."""
        rows, cols = self.codes.shape
        packed = -(-rows * cols * self.bits // 8)
        scales = self.scale.numel() * self.scale.element_size()
        zeros = 0 if self.zero_point is None else -(-self.zero_point.numel() * self.bits // 8)
        return packed + scales + zeros


@dataclass(frozen=True)
class Factored:
    """A product ``left @ right`` of ranks ``[out, r]`` and ``[r, in]``, each stored in a form of its own."""

    left: Dense | Quantized
    right: Dense | Quantized

    @property
    def shape(self) -> tuple[int, int]:
        return self.left.shape[0], self.right.shape[1]

    def dequantize(self) -> Tensor:
        """The matrix in float32, ``[out, in]``."""
        return self.left.dequantize() @ self.right.dequantize()

    def nbytes(self) -> int:
        """Bytes as stored, both factors together."""
        return self.left.nbytes() + self.right.nbytes()


@dataclass(frozen=True)
class Residual:
    """A quantized matrix plus a low-rank product that repairs its error."""

    base: Quantized
    repair: Factored

    @property
    def shape(self) -> tuple[int, int]:
        return self.base.shape

    def dequantize(self) -> Tensor:
        """The matrix in float32, ``[out, in]``."""
        return self.base.dequantize() + self.repair.dequantize()

    def nbytes(self) -> int:
        """Bytes as stored, base and repair together."""
        return self.base.nbytes() + self.repair.nbytes()


Weight = Dense | Quantized | Factored | Residual


def stacked(parts: Sequence[Quantized]) -> Quantized:
    """Integers that are stored alike, laid on top of each other along their outputs."""
    zeros = [part.zero_point for part in parts if part.zero_point is not None]
    return replace(
        parts[0],
        codes=torch.cat([part.codes for part in parts]),
        scale=torch.cat([part.scale for part in parts]),
        zero_point=torch.cat(zeros) if zeros else None,
    )


def mask_of(weight: Weight) -> Tensor | None:
    """The zeros that a weight promises to keep, or None."""
    return weight.mask if isinstance(weight, Dense) else None


def is_finite(weight: Weight) -> bool:
    """Whether every stored number is finite."""
    match weight:
        case Dense(tensor=tensor):
            return bool(torch.isfinite(tensor).all())
        case Quantized(scale=scale):
            return bool(torch.isfinite(scale).all())
        case Factored(left=left, right=right):
            return is_finite(left) and is_finite(right)
        case Residual(base=base, repair=repair):
            return is_finite(base) and is_finite(repair)
