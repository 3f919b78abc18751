"""Quantization grids: integer codes, with a scale (and a zero point) for every group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from compress.lazy import torch
from compress.weights.forms import Quantized
from compress.weights.stored import PER_CHANNEL, StoredForm

if TYPE_CHECKING:
    from torch import Tensor

    from compress.weights.forms import Act

_NARROWEST = {2: 0.40, 3: 0.55, 4: 0.70, 8: 0.92}
"""Ratio to which a search shrinks the range, by bits: the fewer codes, the more a clipped extreme can gain."""
_WIDEST = 1.05
_SEARCHED = 15
_FINEST_HALF = 2.0**-17
"""The smallest scale that float16 holds no more coarsely than bfloat16, which has 8 bits of it whatever its size."""
_SCALE_BYTES = 2
"""Bytes of a stored scale, but of checkpoints in fewer."""


FITTING = (64, 32)
"""Groups tried in this order where the group is left open: as accurate as finer ones, and faster than they are."""


@dataclass(frozen=True)
class Grid:
    """Codes ``qmin`` … ``qmax`` of ``bits`` bits; ``group`` inputs share a scale.

    Symmetric, the largest magnitude of a group maps to ``qmin``: where that reaches one further than ``qmax``, scales
    are signed, so that it does whichever sign it has. Asymmetric, the group's range (zero always in it) maps to all
    codes and a zero point of the codes' own type says which of them means zero.
    """

    bits: int
    group: int
    symmetric: bool = True
    levels: int | None = None
    """The largest magnitude of a code where it must lie below what the bits can hold."""

    @property
    def qmin(self) -> int:
        """The smallest code. Eight bits keep to ±127, as runtimes expect."""
        if self.levels is not None:
            return -self.levels
        return -127 if self.bits == 8 and self.symmetric else -(1 << (self.bits - 1))

    @property
    def qmax(self) -> int:
        """The largest code."""
        return self.levels if self.levels is not None else (1 << (self.bits - 1)) - 1

    @cached_property
    def factors(self) -> Tensor:
        """Factors that a search multiplies the plain range by; the plain range itself comes first."""
        narrowest = next(value for bits, value in _NARROWEST.items() if self.bits <= bits)
        shrunk = torch.linspace(narrowest, _WIDEST, _SEARCHED)
        both = torch.cat([shrunk, -shrunk]) if self.symmetric and -self.qmin > self.qmax else shrunk
        return torch.cat([torch.ones(1), both])

    def candidate_scales(self, x: Tensor, search: bool, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """Candidates for the scale and the zero point of groups ``x`` ``[group, out]``: two tensors ``[count, out]``.

        The first maps the whole range; without ``search`` it is the only one. Scales are rounded to ``dtype``, in which
        they are stored. A group of zeros gets the scale 1. No zero points where the grid is symmetric.
        """
        factors = (self.factors if search else self.factors[:1])[:, None]
        if self.symmetric:
            extreme = x.gather(0, x.abs().argmax(0, keepdim=True))
            span = extreme / self.qmin if -self.qmin > self.qmax else extreme.abs() / self.qmax
        else:
            smallest, largest = x.amin(0, keepdim=True).clamp(max=0), x.amax(0, keepdim=True).clamp(min=0)
            span = (largest - smallest) / (self.qmax - self.qmin)
        scale = (span * factors).to(dtype).float()
        scale = torch.where(scale.abs() > 0, scale, torch.ones_like(scale))
        if self.symmetric:
            return scale, None
        return scale, (self.qmin - smallest * factors / scale).round_().clamp_(self.qmin, self.qmax)

    def scale_dtype(self, weight: Tensor) -> torch.dtype:
        """The type in which the scales of a matrix ``[out, in]`` are stored, and solved with.

        In 16 bits: the matrix's own type, or of float32 float16. That is bfloat16 instead where a group's range is too
        small or too large for it.
        """
        if weight.element_size() <= _SCALE_BYTES:
            return weight.dtype
        grouped = weight.unflatten(1, (-1, self.group))
        largest = torch.maximum(grouped.amax(-1), -grouped.amin(-1))
        steps = largest[largest > 0] / (self.qmax - self.qmin)
        fits = (steps >= _FINEST_HALF) & (steps <= torch.finfo(torch.float16).max / 4)  # no scale searched is 4 steps
        return torch.float16 if bool(fits.all()) else torch.bfloat16

    def stored_form(self, exact: StoredForm, act: Act | None = None) -> StoredForm:
        """Stored form of a dense matrix on this grid: codes, scales in 16 bits, zero points."""
        size = exact.shape[0] * exact.shape[1]
        groups = size // self.group
        zeros = 0 if self.symmetric else -(-groups * self.bits // 8)
        return StoredForm(
            form="quantized",
            shape=exact.shape,
            nbytes=-(-size * self.bits // 8) + groups * min(exact.itemsize, _SCALE_BYTES) + zeros,
            bits=self.bits,
            group=PER_CHANNEL if self.group == exact.shape[1] else self.group,
            symmetric=self.symmetric,
            act=act,
            masked=exact.masked,
        )

    def round_to_codes(self, proposal: Tensor) -> Tensor:
        """Codes nearest to ``proposal``, which is a weight over its scale, plus the zero point. As floats."""
        return proposal.round().clamp_(self.qmin, self.qmax)


@dataclass(frozen=True)
class Proposal:
    """Codes before they are rounded: ``values`` ``[out, in]``, for a ``scale`` and ``zero`` ``[out, in / group]``.

    ``dtype`` is what the scale is stored in.
    """

    grid: Grid
    values: Tensor
    scale: Tensor
    zero: Tensor | None
    dtype: torch.dtype

    def quantized(self, *, act: Act | None = None) -> Quantized:
        """Round to codes, and the scale to its type."""
        return Quantized(
            codes=self.grid.round_to_codes(self.values).to(torch.int8),
            scale=self.scale.to(self.dtype),
            bits=self.grid.bits,
            group=self.grid.group,
            zero_point=None if self.zero is None else self.zero.to(torch.int8),
            act=act,
        )

    def split(self, rows: list[int]) -> list[Proposal]:
        """Split it into parts for matrices of so many outputs each."""
        zeros = [None] * len(rows) if self.zero is None else self.zero.split(rows)
        parts = zip(self.values.split(rows), self.scale.split(rows), zeros, strict=True)
        return [Proposal(self.grid, values, scale, zero, self.dtype) for values, scale, zero in parts]


def fitting(features: int, alike: Sequence[int] = ()) -> int:
    """Default group: 64, where that doesn't divide the inputs 32, else all of them.

    ``alike`` are the inputs of other matrices that are to have the same group.
    """
    return next((group for group in FITTING if not any(size % group for size in (features, *alike))), features)
