"""Format ``awq``: AutoAWQ's ``gemm`` layout, which vLLM, transformers and onnxruntime-genai read.

w = scale · (q − zero). ``qweight`` int32 ``[in, out / 8]`` and ``qzeros`` int32 ``[groups, out / 8]`` pack eight
outputs a word in the order 0, 2, 4, 6, 1, 3, 5, 7, the lowest bits first; ``scales`` float16 ``[groups, out]``.
Source: AutoAWQ's ``awq/modules/linear/gemm.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from compress.formats.packed_int32 import PackedInt32Format
from compress.formats.words import pack_words, unpack_words
from compress.weights.forms import Quantized

_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


class AwqFormat(PackedInt32Format):
    """Integers of 4 bits with zero points; symmetric ones have the middle one, 8."""

    name: ClassVar[str] = "awq"
    bits: ClassVar[tuple[int, ...]] = (4,)
    asymmetric: ClassVar[bool] = True
    allows_float_linears: ClassVar[bool] = True
    quantized_head: ClassVar[bool] = False

    def format_config(self, float_modules: Sequence[str]) -> dict[str, object]:
        """The layout, and what stays float."""
        return {"zero_point": True, "version": "gemm", "modules_to_not_convert": list(float_modules)}

    def pack(self, weight: Quantized) -> dict[str, Tensor]:
        """Codes and zero points, outputs beside each other."""
        zeros = torch.zeros_like(weight.scale, dtype=torch.int8) if weight.zero_point is None else weight.zero_point
        return {"qweight": _words(weight.codes.T), "qzeros": _words(zeros.T)}

    def unpack(self, words: Tensor, bits: int, shape: tuple[int, int]) -> Tensor:
        """Codes or zero points, from words along the outputs."""
        columns = unpack_words(words, bits, shape[::-1])
        lanes: Tensor = columns.unflatten(1, (-1, len(_ORDER)))
        return lanes[..., torch.tensor(_ORDER).argsort()].flatten(1).T.contiguous()


def _words(columns: Tensor) -> Tensor:
    """Signed codes ``[rows, out]`` as unsigned ones, ``[rows, out / 8]``."""
    return pack_words(columns.unflatten(1, (-1, len(_ORDER)))[..., _ORDER].flatten(1), 4)
