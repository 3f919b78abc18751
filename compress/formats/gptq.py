"""Format ``gptq``: GPTQ v1, the format that AutoGPTQ defined and that vLLM, transformers and onnxruntime-genai read.

w = scale · (q − zero). ``qweight`` int32 ``[in · bits / 32, out]`` packs q along the inputs, the lowest bits first;
``qzeros`` int32 ``[groups, out · bits / 32]`` packs zero − 1 along the outputs; ``scales`` float16 ``[groups, out]``;
``g_idx`` int32 ``[in]`` is each input's group.
Source: AutoGPTQ's ``nn_modules/qlinear/qlinear_cuda.py``. vLLM reads symmetric ones alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from compress.formats.packed_int32 import PackedInt32Format
from compress.formats.words import pack_words, unpack_words
from compress.weights.forms import Quantized


class GptqFormat(PackedInt32Format):
    """Symmetric integers of 4 or 8 bits in every linear; the head too, where its scheme is the layers'."""

    name: ClassVar[str] = "gptq"
    bits: ClassVar[tuple[int, ...]] = (4, 8)
    asymmetric: ClassVar[bool] = False
    allows_float_linears: ClassVar[bool] = False
    quantized_head: ClassVar[bool] = True

    def format_config(self, float_modules: Sequence[str]) -> dict[str, object]:
        """Groups lie in the inputs' own order (``desc_act``), and the version is the first."""
        return {"desc_act": False, "sym": True, "lm_head": not float_modules, "checkpoint_format": self.name}

    def pack(self, weight: Quantized) -> dict[str, Tensor]:
        """Codes, their one zero point, and the groups of the inputs."""
        middle_less_one = torch.full(weight.scale.T.shape, -1, dtype=torch.int8)
        return {
            "qweight": pack_words(weight.codes, weight.bits).T,
            "qzeros": pack_words(middle_less_one, weight.bits),
            "g_idx": torch.arange(weight.shape[1], dtype=torch.int32) // weight.group,
        }

    def unpack(self, words: Tensor, bits: int, shape: tuple[int, int]) -> Tensor:
        """Codes, from words along the inputs."""
        return unpack_words(words.T.contiguous(), bits, shape).contiguous()

    def extra_files(self, config: Mapping[str, object]) -> Mapping[str, object]:
        """``quantize_config.json``, which readers older than ``config.json``'s own entry go by."""
        return {"quantize_config.json": config}
