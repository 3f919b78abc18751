"""Weight forms: how one matrix is stored. Passes turn one form into another, exporters pack them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from compress.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

Act = Literal["dynamic"]


@dataclass(frozen=True)
class Dense:
    """A plain float matrix ``[out, in]``."""

    tensor: Tensor

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
class Masked(Dense):
    """A float matrix with zeros to keep.

    ``mask`` (bool, same shape) is False where every later pass must leave a zero. A pass that can't doesn't accept it.
    """

    mask: Tensor


@dataclass(frozen=True)
class Quantized:
    """Integers and scales: the weight is ``(codes - zero_point) * scale``, group by group along the inputs.

    ``codes`` int8 ``[out, in]``, one code a byte, signed; ``scale`` float ``[out, in / group]``, in the dtype that is
    stored; ``zero_point`` int8 of the scale's shape, or None where symmetric; ``group`` inputs share a scale (all of
    them: per channel). ``act="dynamic"`` asks the runtime to quantize the inputs too, to 8 bits, as they come. ``mask``
    (bool, the codes' shape) is False where the code is the zero point and has to stay it.
    """

    codes: Tensor
    scale: Tensor
    bits: int
    group: int
    zero_point: Tensor | None = None
    act: Act | None = None
    mask: Tensor | None = None

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
        return self.multiplied(self.left.dequantize(), self.right.dequantize())

    def multiplied(self, left: Tensor, right: Tensor) -> Tensor:
        """The matrix ``[out, in]`` that it would be with these factors."""
        return left @ right

    def nbytes(self) -> int:
        """Bytes as stored, both factors together."""
        return self.left.nbytes() + self.right.nbytes()


@dataclass(frozen=True)
class Pivoted(Factored):
    """A product of which r outputs, the pivots, are the right factor's own, and ``left`` makes the others of these.

    ``left`` is ``[out - r, r]``: r (out + in - r) numbers, where both factors in full have r (out + in). Output i of
    the matrix is number ``order[i]`` (int32, ``[out]``) of the right factor's outputs with the left one's behind them.
    PIFA (Zhao et al., arXiv 2501.19090).
    """

    order: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.order.shape[0], self.right.shape[1]

    def multiplied(self, left: Tensor, right: Tensor) -> Tensor:
        """The matrix ``[out, in]`` that it would be with these factors."""
        return torch.cat([right, left @ right])[self.order.long()]

    def nbytes(self) -> int:
        """Bytes as stored, both factors and the order together."""
        return super().nbytes() + self.order.numel() * self.order.element_size()


@dataclass(frozen=True)
class Residual:
    """A quantized matrix plus a low-rank product that repairs its error."""

    base: Quantized
    correction: Factored

    @property
    def shape(self) -> tuple[int, int]:
        return self.base.shape

    def dequantize(self) -> Tensor:
        """The matrix in float32, ``[out, in]``."""
        return self.base.dequantize() + self.correction.dequantize()

    def nbytes(self) -> int:
        """Bytes as stored, base and correction together."""
        return self.base.nbytes() + self.correction.nbytes()


Weight = Dense | Quantized | Factored | Residual


def part_name(name: str, part: str) -> str:
    """The name of one part of the matrix ``name``: ``q_proj.left.weight`` of ``q_proj.weight``."""
    return f"{name.removesuffix('.weight')}.{part}.weight"


def whole_name(part: str) -> str:
    """The matrix that a part of that name belongs to: the other way round from `part_name`."""
    module, _, last = part.removesuffix(".weight").rpartition(".")
    return f"{module}.weight" if last in ("left", "right") else part


def order_name(name: str) -> str:
    """The name of the order of a pivoted product's outputs: ``q_proj.order`` of ``q_proj.weight``."""
    return f"{name.removesuffix('.weight')}.order"


def masked(tensor: Tensor, mask: Tensor | None) -> Dense:
    """A float matrix that keeps the zeros of a mask, if there is one."""
    return Dense(tensor) if mask is None else Masked(tensor, mask)


def stacked(parts: Sequence[Quantized]) -> Quantized:
    """Integers that are stored alike, laid on top of each other along their outputs."""
    zeros = [part.zero_point for part in parts if part.zero_point is not None]
    return replace(
        parts[0],
        codes=torch.cat([part.codes for part in parts]),
        scale=torch.cat([part.scale for part in parts]),
        zero_point=torch.cat(zeros) if zeros else None,
        mask=stacked_masks(parts),
    )


def stacked_masks(parts: Sequence[Dense | Quantized]) -> Tensor | None:
    """The zeros that matrices laid on top of each other promise to keep; None where none of them does."""
    masks = [mask_of(part) for part in parts]
    if all(mask is None for mask in masks):
        return None
    filled = [torch.ones(p.shape, dtype=torch.bool) if m is None else m for p, m in zip(parts, masks, strict=True)]
    return torch.cat(filled)


def mask_of(weight: Weight) -> Tensor | None:
    """The zeros that a weight promises to keep, or None; those of a residual are its base's."""
    match weight:
        case Masked(mask=mask) | Quantized(mask=mask):
            return mask
        case Residual(base=base):
            return base.mask
    return None


def keeps_zeros(old: Weight, new: Weight) -> bool:
    """Whether every zero that ``old`` promised to keep is one in ``new``, and still promised there.

    Factors are compared one by one. A repaired matrix keeps its zeros in its base: the product beside it is never
    multiplied out.
    """
    match old, new:
        case _, Residual(base=base):
            return keeps_zeros(old, base)
        case Factored(), Factored():
            return keeps_zeros(old.left, new.left) and keeps_zeros(old.right, new.right)
    mask, new_mask = mask_of(old), mask_of(new)
    if mask is None:
        return True
    return new_mask is not None and not bool((new_mask & ~mask).any() or new.dequantize().masked_select(~mask).any())


def leaves(weight: Weight) -> list[Dense | Quantized]:
    """The stored matrices that a weight is made of: itself, or the base and the factors."""
    match weight:
        case Factored(left=left, right=right):
            return [left, right]
        case Residual(base=base, correction=correction):
            return [base, *leaves(correction)]
    return [weight]


def merged(weight: Weight) -> Dense | Quantized:
    """A product, or a sum with one, as the one dense matrix that it stands for; every other form as it is.

    In the type of its last float factor; of integers in bfloat16 where their scales are, else in float32.
    """
    if isinstance(weight, Dense | Quantized):
        return weight
    inner = leaves(weight)[-1]
    if isinstance(inner, Dense):
        return Dense(weight.dequantize().to(inner.tensor.dtype))
    return Dense(weight.dequantize().to(torch.bfloat16 if inner.scale.dtype == torch.bfloat16 else torch.float32))


def is_finite(weight: Weight) -> bool:
    """Whether every stored number is finite."""
    tensors = [leaf.tensor if isinstance(leaf, Dense) else leaf.scale for leaf in leaves(weight)]
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
