"""Codes of 3 and 6 bits in three quarters of the bytes that an operator for 4 or 8 bits reads.

No operator of onnxruntime multiplies with them. So they fill the highest bits of a wider operator's codes, whose middle
is then theirs, and the bits that are left free in three quarters of its bytes hold the fourth quarter. A runtime puts
them together once, as it loads the graph, for all of that is constant: from then on products cost what they cost the
wider operator, in time and in memory.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from onnx_ir import DataType

if TYPE_CHECKING:
    from onnx_ir import Value
    from torch import Tensor

    from compress.export.lowering.emitter import Emitter

WIDER = {3: 4, 6: 8}
"""Bits of the operator's codes, by bits of the stored ones."""
_FREE = {4: 0x11, 8: 0x03}
"""Bits of a byte that codes leave free, by bits of the operator's codes: the lowest one, or two, of each of them."""


def three_quarters(codes: Tensor, bits: int) -> list[Tensor]:
    """Three tensors ``[..., n / 4]`` for the bytes ``codes`` ``[..., n]`` of an operator for so many ``bits``.

    They are its first three quarters, with a third of the bits of the last one each: the highest in the first.
    """
    *quarters, last = codes.chunk(4, -1)
    return [quarter | (last >> shift & _FREE[bits]) for quarter, shift in zip(quarters, _shifts(bits), strict=True)]


def joined(emit: Emitter, name: str, codes: Tensor, bits: int) -> Value:
    """An operator's bytes ``codes`` ``[rows, blocks, n]``, stored as `three_quarters`, which the runtime joins."""

    def join() -> Value:
        free = emit.constant(np.array(_FREE[bits], np.uint8))
        kept = emit.constant(np.array(0xFF ^ _FREE[bits], np.uint8))
        stored = [
            emit.initializer(f"{name}.{i}", part.contiguous) for i, part in enumerate(three_quarters(codes, bits))
        ]
        thirds = [
            emit.op("BitShift", emit.op("BitwiseAnd", part, free), emit.constant(shift), direction="LEFT")
            for part, shift in zip(stored, np.array(_shifts(bits), np.uint8), strict=True)
        ]
        last = reduce(lambda some, third: emit.op("BitwiseOr", some, third), thirds)
        return emit.op("BitwiseAnd", emit.op("Concat", *stored, last, axis=-1), kept, name=name)

    return emit.once_loaded(name, join, DataType.UINT8, codes.shape, codes.numel() // 4)


def _shifts(bits: int) -> list[int]:
    """How far each third of a code's bits is from its lowest ones."""
    free = bits // 4
    return [3 * free, 2 * free, free]
