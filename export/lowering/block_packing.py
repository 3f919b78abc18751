"""Pack the integers of a `Quantized` weight into the bytes that onnxruntime's operators read.

Source: onnxruntime's ContribOperators, MatMulNBits and GatherBlockQuantized: codes are unsigned, blocks lie along the
inputs, several codes of a byte start at its lowest bits, and without zero points the middle 2^(bits-1) means zero.
Codes of 3 and 6 bits are wider ones whose lowest bits are zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from compress.errors import ExportError
from compress.export.lowering.three_quarters import WIDER
from compress.weights.forms import Quantized

_BLOCKS = (128, 64, 32, 16)
_RAGGED = 32
BITS = (2, 3, 4, 6, 8)
"""Bits that a weight can have."""


@dataclass(frozen=True)
class Blocked:
    """``codes`` uint8 ``[out, blocks, block * bits / 8]``, ``scales`` ``[out, blocks]`` in the weight's type, and
    ``zero_points`` uint8 ``[out, ceil(blocks * bits / 8)]`` or None.

    ``bits`` are those of the operator. The scales are to be multiplied by ``unit``: one of its codes' steps in the
    weight's.
    """

    codes: Tensor
    scales: Tensor
    zero_points: Tensor | None
    block: int
    bits: int
    unit: float


def block_of(weight: Quantized) -> int:
    """Block size in the runtime: the largest power of two up to 128 that divides the group.

    Larger groups repeat their scale. A per-channel scale of inputs that none divides gets a ragged last block.
    """
    for block in _BLOCKS:
        if weight.group % block == 0:
            return block
    if weight.per_channel:
        return _RAGGED
    raise ExportError(f"onnxruntime needs groups that 16 divides, not {weight.group}; use group=32 or group=channel")


def blocked(weight: Quantized) -> Blocked:
    """Pack a weight in MatMulNBits' layout; a ragged last block is filled with zeros."""
    if weight.bits not in BITS:
        raise ExportError(f"onnxruntime holds weights of 2, 3, 4, 6 or 8 bits, not {weight.bits}; --target hf does")
    rows, inputs = weight.shape
    bits = WIDER.get(weight.bits, weight.bits)
    block, unused = block_of(weight), bits - weight.bits
    blocks = -(-inputs // block)
    codes = pad(weight.codes, (0, blocks * block - inputs))
    repeats = -(-blocks // weight.scale.shape[1])
    zeros = weight.zero_point
    return Blocked(
        codes=_packed(_unsigned(codes, weight.bits) << unused, bits).reshape(rows, blocks, -1),
        scales=weight.scale.repeat_interleave(repeats, 1),
        zero_points=None
        if zeros is None
        else _packed(_unsigned(zeros, weight.bits).repeat_interleave(repeats, 1) << unused, bits),
        block=block,
        bits=bits,
        unit=0.5**unused,
    )


def _unsigned(codes: Tensor, bits: int) -> Tensor:
    """Signed codes as unsigned ones, the middle added: a wrapping byte add, so that nothing wider is allocated."""
    return codes.view(torch.uint8) + (1 << (bits - 1))


def _packed(codes: Tensor, bits: int) -> Tensor:
    """Unsigned codes ``[rows, n]`` packed along the rows, ``8 / bits`` a byte, the lowest bits first."""
    if bits == 8:
        return codes
    per_byte = 8 // bits
    lanes = pad(codes, (0, -codes.shape[1] % per_byte)).unflatten(1, (-1, per_byte))
    packed: Tensor = lanes[..., 0].clone()
    for lane in range(1, per_byte):
        packed |= lanes[..., lane] << (lane * bits)
    return packed
