"""Encode weight forms as GGUF tensor blocks.

A block is 32 inputs of a row, d and m are float16. Q4_0: d and codes q in 0…15, the weight is d · (q − 8).
Q4_1: d, m and codes, the weight is d · q + m. Q8_0: d and signed bytes q, the weight is d · q.
A byte of 4-bit codes holds number i of a block in its lower and number i + 16 in its upper half.
Source: ggml's ``ggml-common.h`` and ``ggml-quants.c``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compress.graph.builder import required
from compress.weights.forms import Dense, Quantized
from compress.weights.half_scales import scale_rounding_error, with_half_scales
from compress.weights.stored import PER_CHANNEL, StoredForm

BLOCK = 32
TensorType = Literal["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q8_0"]
_FLOATS: dict[torch.dtype, TensorType] = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


@dataclass(frozen=True)
class Blocks:
    """A matrix in GGUF's blocks.

    ``data`` is uint8 ``[out, bytes of a row]``, ``values`` what readers make of it, float32 ``[out, in]``,
    ``scale_rounding_error`` how far rounding to float16 moved its scales.
    """

    tensor_type: TensorType
    data: NDArray[np.uint8]
    values: Tensor
    scale_rounding_error: float = 0.0


def blocks(weight: Dense | Quantized) -> Blocks:
    """Encode a matrix in the type of blocks whose grid is its own; `unsupported_reason` tells which have none.

    Scales are rounded to float16, and so is m, which stands for −d · zero point.
    """
    if isinstance(weight, Dense):
        return Blocks(_FLOATS[weight.tensor.dtype], _rows(weight.tensor), weight.dequantize())
    rounded = with_half_scales(weight, "gguf")
    error = scale_rounding_error(weight, rounded)
    d = rounded.scale.repeat_interleave(weight.group // BLOCK, 1)
    if weight.bits == 8:
        return Blocks("Q8_0", _joined([d, weight.codes.unflatten(1, (-1, BLOCK))]), rounded.dequantize(), error)
    q = (weight.codes + 8).unflatten(1, (-1, BLOCK))
    packed = (q[..., : BLOCK // 2] | (q[..., BLOCK // 2 :] << 4)).view(torch.uint8)
    if rounded.zero_point is None:
        return Blocks("Q4_0", _joined([d, packed]), rounded.dequantize(), error)
    zero = rounded.zero_point.repeat_interleave(weight.group // BLOCK, 1).float() + 8
    m = (-d.float() * zero).half()
    values = (d.float().unsqueeze(-1) * q.float() + m.float().unsqueeze(-1)).flatten(1)
    return Blocks("Q4_1", _joined([d, m, packed]), values, error)


def unsupported_reason(name: str, form: StoredForm) -> str | None:
    """Say why no type of blocks holds the matrix ``name``, and the option that fixes it; None where one does."""
    if form.form == "dense":
        return None
    group = required(form.shape[1] if form.group == PER_CHANNEL else form.group)
    if form.bits not in (4, 8):
        return f"{form.bits} bits ({name}); use int4 or int8"
    if group % BLOCK:
        return f"groups of {group}, which {BLOCK} doesn't divide ({name}); give group={BLOCK}"
    if form.bits == 8 and not form.symmetric:
        return f"8 bits with zero points ({name}); give symmetry=sym"
    return None


def _rows(tensor: Tensor) -> NDArray[np.uint8]:
    data: NDArray[Any] = tensor.contiguous().view(torch.uint8).numpy()
    return data


def _joined(parts: list[Tensor]) -> NDArray[np.uint8]:
    """The bytes of every block's parts one after another, block after block; scales ``[out, blocks]``, the rest
    ``[out, blocks, …]``."""
    split = [part.unsqueeze(-1) if part.dim() == 2 else part for part in parts]
    return _rows(torch.cat([part.contiguous().view(torch.uint8) for part in split], -1).flatten(1))
