"""Base of the formats gptq and awq: 32-bit words, one scheme for a decoder's linears, the rest in float."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from torch import Tensor

from compress.formats.base import CheckpointFormat
from compress.modeling.architecture import Architecture
from compress.modeling.outline import Outline
from compress.weights.forms import Dense, Masked, Quantized, Weight
from compress.weights.half_scales import with_half_scales
from compress.weights.stored import PER_CHANNEL, StoredForm

Place = Literal["layer", "head", "embedding"]


class PackedInt32Format(CheckpointFormat):
    """Integers of one width and one group in 32-bit words, with float16 scales.

    ``bits`` are the widths to choose from; ``asymmetric``: with zero points too; ``allows_float_linears``: some
    linears may stay float; ``quantized_head``: the head may be in integers as well.
    """

    bits: ClassVar[tuple[int, ...]]
    asymmetric: ClassVar[bool]
    allows_float_linears: ClassVar[bool]
    quantized_head: ClassVar[bool]
    restricted = True
    required_packages = ("gptqmodel", "optimum")

    def unsupported_reason(self, architecture: Architecture, weights: Mapping[str, StoredForm]) -> str | None:
        """Refuse what is no decoder, the first matrix that doesn't fit in, or a second scheme."""
        if not architecture.kind.is_decoder_only:
            return f"format {self.name} is for decoders; leave out --format"
        outline = architecture.outline
        if outline.nonstandard_linear or outline.expert_weights:
            linears = outline.nonstandard_linear or "experts"
            return f"format {self.name} is for torch's own linears, not for {linears}; leave out --format"
        for name, form in weights.items():
            if reason := self._unsupported_form(form, _place(name, outline)):
                content, fix = reason
                return f"format {self.name} can't hold {content} ({name}); {fix}"
        schemes = _schemes(weights)
        if len(schemes) < 2:
            return None
        first, second, *_ = (f"{name} has {bits} bits, groups of {group}" for (bits, group), name in schemes.items())
        return f"format {self.name} has one scheme for all, but {first} and {second}; give group=32 and head=float"

    def _unsupported_form(self, form: StoredForm, place: Place) -> tuple[str, str] | None:
        """Reason why this format can't hold a matrix, and the fix; None where it can."""
        if form.form == "dense":
            plain = place != "layer" or self.allows_float_linears
            return None if plain else ("linears in float", "use an integer pass, without skip")
        if form.parts:
            return "products", "leave out lowrank and compensate"
        if place == "embedding":
            return "embeddings in integers", "give embed=float, and head=float where the head is tied to it"
        if place == "head" and not self.quantized_head:
            return "heads in integers", "give head=float"
        if form.bits not in self.bits:
            widths = " or ".join(f"int{bits}" for bits in self.bits)
            return f"{form.bits} bits", "give head=float" if place == "head" else f"use {widths}"
        if form.act is not None:
            return "inputs in integers", "give act=none"
        if not form.symmetric and not self.asymmetric:
            return "zero points", "give symmetry=sym, or --format awq"
        lanes = 32 // form.bits
        if any(size % lanes for size in form.shape):
            fix = "give head=float" if place == "head" else "leave out --format"
            return f"{form.shape[0]} × {form.shape[1]} codes, {lanes} a word", fix
        return None

    def as_stored(self, weight: Weight) -> Weight:
        """Integers with their scales rounded to the nearest float16; an ExportError where one is too large for that."""
        return with_half_scales(weight, f"format {self.name}") if isinstance(weight, Quantized) else weight

    def encode(self, name: str, weight: Weight, is_linear: bool, is_expert: bool = False) -> dict[str, Tensor]:
        """A float matrix as it is; integers packed, their tensors named after the linear."""
        if isinstance(weight, Dense):
            return {name: weight.tensor.contiguous()}
        assert isinstance(weight, Quantized)
        stem, parts = name.removesuffix("weight"), self.pack(weight)
        parts["scales"] = weight.scale.T
        return {f"{stem}{part}": tensor.contiguous() for part, tensor in parts.items()}

    def decode(self, name: str, stored: StoredForm, read: Mapping[str, Tensor]) -> Weight:
        """The matrix as it was encoded."""
        if stored.form == "dense":
            tensor = read[name]
            return Masked(tensor, tensor != 0) if stored.masked else Dense(tensor)
        assert stored.bits is not None
        stem, (rows, inputs) = name.removesuffix("weight"), stored.shape
        scale = read[f"{stem}scales"].T.contiguous()
        codes = self.unpack(read[f"{stem}qweight"], stored.bits, (rows, inputs))
        zero_point = None
        if not stored.symmetric:
            zero_point = self.unpack(read[f"{stem}qzeros"], stored.bits, (rows, scale.shape[1]))
        weight = Quantized(codes, scale, stored.bits, inputs // scale.shape[1], zero_point)
        return replace(weight, mask=weight.dequantize() != 0) if stored.masked else weight

    def config(
        self, weights: Mapping[str, StoredForm], linears: Sequence[str], expert_weights: Collection[str] = ()
    ) -> dict[str, object] | None:
        """The one scheme: bits, group, and the format's own settings."""
        schemes = _schemes(weights)
        if not schemes:
            return None
        ((bits, group),) = schemes
        integers = {name for name, form in weights.items() if form.form == "quantized"}
        float_modules = [name.removesuffix(".weight") for name in linears if name not in integers]
        return {"quant_method": self.name, "bits": bits, "group_size": group, **self.format_config(float_modules)}

    @abstractmethod
    def format_config(self, float_modules: Sequence[str]) -> dict[str, object]:
        """The format's own settings; ``float_modules`` are the linears that stay float."""

    @abstractmethod
    def pack(self, weight: Quantized) -> dict[str, Tensor]:
        """The tensors of an integer matrix but for its scales, by the last part of their names."""

    @abstractmethod
    def unpack(self, words: Tensor, bits: int, shape: tuple[int, int]) -> Tensor:
        """The codes int8 ``[out, in]`` in ``qweight``, or the zero points ``[out, groups]`` in ``qzeros``."""


def _place(name: str, outline: Outline) -> Place:
    """The place of a matrix in its model."""
    if name == outline.head:
        return "head"
    return "layer" if name in outline.linears else "embedding"


def _schemes(weights: Mapping[str, StoredForm]) -> dict[tuple[int, int], str]:
    """The bits and groups that integers come in, each with the first matrix that has them.

    Whole channels are one scheme however long they are; beside groups, a channel is a group as long as itself.
    """
    integers = {name: form for name, form in weights.items() if form.form == "quantized"}
    per_channel = all(form.group == PER_CHANNEL for form in integers.values())
    schemes: dict[tuple[int, int], str] = {}
    for name, form in integers.items():
        assert form.bits is not None and form.group is not None
        group = form.shape[1] if form.group == PER_CHANNEL and not per_channel else form.group
        schemes.setdefault((form.bits, group), name)
    return schemes
