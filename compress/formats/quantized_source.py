"""Quantized weights that other programs wrote, as floats: FP8, compressed-tensors, GPTQ, AWQ, bitsandbytes.

Every method stores a linear's matrix as a few tensors beside each other, ``….qweight``, ``….scales``. Sources: the
formats' own code, as named at each class; layouts as in `gptq` and `awq`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from compress.errors import ModelError
from compress.formats.awq import AwqFormat
from compress.formats.words import unpack_words

_HALVES = (torch.float16, torch.bfloat16)
Config = Mapping[str, Any]
"""A ``quantization_config``."""


class QuantizedSource(ABC):
    """One method. ``marks``: ends of names, one of which every quantized matrix has; ``parts``: all that are its."""

    method: ClassVar[str]
    marks: ClassVar[tuple[str, ...]]
    parts: ClassVar[tuple[str, ...]]

    def __init__(self, config: Config) -> None:
        self.config = config

    def modules(self, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The names of each quantized matrix's tensors, by its module's path, among the ``names`` of a checkpoint."""
        names = frozenset(names)
        stems = {name.removesuffix(f".{mark}") for name in names for mark in self.marks if name.endswith(f".{mark}")}
        parts = (*self.marks, *self.parts)
        return {stem: tuple(f"{stem}.{part}" for part in parts if f"{stem}.{part}" in names) for stem in sorted(stems)}

    @abstractmethod
    def dequantize(self, module: str, parts: Mapping[str, Tensor]) -> Tensor:
        """A matrix, float32 ``[out, in]``, of its tensors by the ends of their names.

        Raises ModelError or KeyError where they don't fit each other.
        """


class Fp8Source(QuantizedSource):
    """Floats of 8 bits times a scale for each block, row or matrix (transformers' ``finegrained_fp8``)."""

    method = "fp8"
    marks = ("weight_scale_inv", "weight_scale")
    parts = ("weight", "input_scale", "activation_scale")

    def dequantize(self, module: str, parts: Mapping[str, Tensor]) -> Tensor:
        weight = parts["weight"].float()
        scale = next(parts[mark] for mark in self.marks if mark in parts).float()
        if scale.numel() == 1:
            return weight * scale.reshape(())
        if scale.ndim == 1 or scale.shape[1] == 1:
            return weight * scale.reshape(len(weight), 1)
        blocks = self.config.get("weight_block_size") or (128, 128)
        counts = [-(-size // block) for size, block in zip(weight.shape, blocks, strict=True)]
        if list(scale.shape) != counts:
            raise ModelError(f"{module} has {list(scale.shape)} scales, and {counts} blocks")
        rows, columns = (torch.arange(size) // block for size, block in zip(weight.shape, blocks, strict=True))
        return weight * scale[rows][:, columns]


class CompressedTensorsSource(QuantizedSource):
    """Whatever the library compressed-tensors decompresses."""

    method = "compressed-tensors"
    marks = ("weight_packed", "weight_scale")
    parts = ("weight", "weight_zero_point", "weight_shape", "weight_g_idx", "weight_global_scale", "input_scale",
             "input_zero_point", "input_global_scale", "output_scale", "output_zero_point")  # fmt: skip

    def dequantize(self, module: str, parts: Mapping[str, Tensor]) -> Tensor:
        from compressed_tensors.compressors import BaseCompressor
        from compressed_tensors.compressors.format import infer_module_format

        if (weight := parts.get("weight")) is not None and weight.is_floating_point() and weight.element_size() > 1:
            return weight.float()  # it was saved as floats
        scheme, whole = self._scheme(module), self.config.get("format")
        format_name = scheme.format or (whole if whole != "mixed-precision" else None)
        format_name = format_name or infer_module_format(torch.nn.Linear, scheme)
        compressor = BaseCompressor.get_value_from_registry(getattr(format_name, "value", format_name))
        # Scales of 16 bits are widened: the library multiplies, and rounds, in their type.
        tensors = {
            name: tensor.float() if tensor.dtype in _HALVES else tensor
            for name, tensor in parts.items()
            if name.startswith("weight")
        }
        floats: Tensor = compressor.decompress(tensors, scheme)["weight"]
        return floats.float()

    @cached_property
    def _schemes(self) -> list[Any]:
        from compressed_tensors.quantization import QuantizationConfig

        return list(QuantizationConfig.model_validate(dict(self.config)).config_groups.values())

    def _scheme(self, module: str) -> Any:
        """The scheme whose targets have the module, by its name or else by its class."""
        from compressed_tensors.utils.match import match_name

        schemes = self._schemes
        named = (scheme for scheme in schemes if any(match_name(module, target) for target in scheme.targets))
        by_class = (scheme for scheme in schemes if "Linear" in scheme.targets)
        scheme = next(named, None) or next(by_class, None)
        if scheme is None:
            raise ModelError(f"no group of its quantization_config is for {module}")
        return scheme


class GptqSource(QuantizedSource):
    """GPTQ, in versions 1 and 2, with groups in any order (``desc_act``); layouts as in `GptqFormat`."""

    method = "gptq"
    marks = ("qweight",)
    parts = ("qzeros", "scales", "g_idx")

    def dequantize(self, module: str, parts: Mapping[str, Tensor]) -> Tensor:
        bits, scales = int(self.config["bits"]), parts["scales"].float().T
        outputs, groups = scales.shape
        inputs = parts["qweight"].shape[0] * 32 // bits
        codes = unpack_words(parts["qweight"].T.contiguous(), bits, (outputs, inputs))
        zeros = unpack_words(parts["qzeros"].contiguous(), bits, (groups, outputs)).T.int()
        if self.config.get("checkpoint_format", "gptq") == "gptq":  # the first version stores them less one
            middle = 1 << (bits - 1)
            zeros = (zeros + middle + 1) % (2 * middle) - middle
        group = parts["g_idx"].long() if "g_idx" in parts else torch.arange(inputs) * groups // inputs
        return scales[:, group] * (codes.int() - zeros[:, group])


class AwqSource(QuantizedSource):
    """AutoAWQ's ``gemm`` layout, as in `AwqFormat`."""

    method = "awq"
    marks = ("qweight",)
    parts = ("qzeros", "scales")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        if str(config.get("version", "gemm")).lower() != "gemm" or config.get("bits", 4) != 4:
            raise ModelError(f"awq in the version {config.get('version')}, with {config.get('bits')} bits, isn't read")

    def dequantize(self, module: str, parts: Mapping[str, Tensor]) -> Tensor:
        scales = parts["scales"].float().T
        outputs, groups = scales.shape
        inputs = len(parts["qweight"])
        codes = AwqFormat().unpack(parts["qweight"], 4, (outputs, inputs)).int()
        zeros = AwqFormat().unpack(parts["qzeros"], 4, (outputs, groups)).int() if "qzeros" in parts else 0
        steps = inputs // groups
        spread = zeros.repeat_interleave(steps, 1) if isinstance(zeros, Tensor) else zeros
        return scales.repeat_interleave(steps, 1) * (codes - spread)


class BitsAndBytesSource(QuantizedSource):
    """bitsandbytes: NF4 and FP4 in blocks, whose scales may be quantized too, and 8-bit rows (LLM.int8).

    Source: ``bitsandbytes/functional.py`` and ``nn/modules.py``.
    """

    method = "bitsandbytes"
    marks = ("weight.quant_state.bitsandbytes__nf4", "weight.quant_state.bitsandbytes__fp4", "SCB")
    parts = ("weight", "weight.absmax", "weight.quant_map", "weight.nested_absmax", "weight.nested_quant_map",
             "weight_format")  # fmt: skip

    def dequantize(self, module: str, parts: Mapping[str, Tensor]) -> Tensor:
        if "SCB" in parts:
            return parts["weight"].float() * (parts["SCB"].float() / 127)[:, None]
        packed = next(parts[mark] for mark in self.marks if mark in parts)
        state = json.loads(bytes(packed.tolist()))
        words = (
            parts["weight"].contiguous().view(torch.uint8).flatten().int()
        )  # bytes, whatever type they are said to be
        codes = torch.stack([words >> 4, words & 15], 1).flatten()
        absmax = parts["weight.absmax"]
        if "weight.nested_absmax" in parts:
            outer = parts["weight.nested_absmax"].float().repeat_interleave(state["nested_blocksize"])
            absmax = parts["weight.nested_quant_map"].float()[absmax.long()] * outer[: len(absmax)]
            absmax = absmax + state["nested_offset"]
        values = parts["weight.quant_map"].float()[codes]
        scales = absmax.float().repeat_interleave(state["blocksize"])
        rows, columns = state["shape"]
        return (values[: rows * columns] * scales[: rows * columns]).view(rows, columns)


_SOURCES: tuple[type[QuantizedSource], ...] = (
    Fp8Source,
    CompressedTensorsSource,
    GptqSource,
    AwqSource,
    BitsAndBytesSource,
)


def quantized_source(config: object) -> QuantizedSource:
    """What reads the weights of a checkpoint with that ``quantization_config``; a ModelError where nothing does."""
    method = config.get("quant_method") if isinstance(config, Mapping) else None
    for source in _SOURCES:
        if source.method == method and isinstance(config, Mapping):
            return source(config)
    known = ", ".join(source.method for source in _SOURCES)
    raise ModelError(f"weights quantized by {method or config} can't be read as floats; those by {known} can")
