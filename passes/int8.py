"""8-bit weights, with or without 8-bit activations."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.block import Block
from compress.contract import Statistic, WeightPass
from compress.errors import PassError, UsageError
from compress.passes.rounding import round_to_nearest
from compress.passes.smoothing import output_error, smooth
from compress.statistics import InputStatistics
from compress.weight import Dense, Quantized, Weight

if TYPE_CHECKING:
    from compress.model import Model

HEADROOM_LEVELS = 63
"""x86 without VNNI adds pairs of u8 x s8 products in 16 bits: 2 · 255 · 63 still fits, 2 · 255 · 127 saturates."""

_GROUPS = (64, 32)
"""Tried in this order where the group is left open: as accurate as finer ones, and faster than them."""


@dataclass(frozen=True)
class Int8(WeightPass):
    """Weights in 8 bits, symmetric, rounded to the nearest code."""

    name: ClassVar[str] = "int8"
    accepts: ClassVar[tuple[type, ...]] = (Dense,)
    produces: ClassVar[tuple[type, ...]] = (Quantized, Dense)

    group: Literal["auto", "channel", "32", "64", "128"] = Field(
        "auto",
        description="inputs that share a scale; auto: 64, where it doesn't divide the inputs 32, else the whole "
        "channel; with act=dynamic always the whole channel",
    )
    act: Literal["auto", "none", "dynamic"] = Field(
        "auto",
        description="inputs: none keeps them float, dynamic rounds every token to 8 bits as it comes; auto: none for "
        "decoders (bound by memory), dynamic for encoders (bound by arithmetic)",
    )
    smooth: Literal["auto", "off"] = Field(
        "auto", description="fold activation ranges into the layer before (SmoothQuant), where act=dynamic gains by it"
    )
    fallback: float = Field(
        0.02,
        ge=0,
        description="with act=dynamic: a linear whose relative squared output error exceeds this keeps float inputs",
    )
    head: Literal["int8", "float"] = Field("int8", description="the output head; a tied one goes with the embedding")
    embed: Literal["int8", "float"] = Field("int8", description="the token embedding")

    def settle(self, model: Model) -> Self:
        """Decide ``act`` by the kind of model, and refuse what can't work on it."""
        act = self.act if self.act != "auto" else ("none" if model.kind == "decoder" else "dynamic")
        if act == "dynamic" and self.group not in ("auto", "channel"):
            raise UsageError(f"int8: act=dynamic needs one scale a channel; leave out group={self.group}")
        if model.tied and self.head != self.embed:
            raise UsageError(
                f"int8: this model's head is its embedding, stored once; give head={self.head} and embed={self.head}"
            )
        if self.group not in ("auto", "channel"):
            for name in model.names:
                shape = model.shape(name)
                if len(shape) == 2 and shape[1] % int(self.group):
                    raise _no_fit(self.group, name, shape[1])
        return replace(self, act=act, smooth=self.smooth if act == "dynamic" else "off")

    def needs(self) -> Statistic:
        """Ranges and sampled rows of the inputs, where these are quantized too."""
        return Statistic.AMAX if self.act == "dynamic" else Statistic.NONE

    def run(self, block: Block, stats: InputStatistics) -> None:
        """Quantize a block's matrices; a layer's inputs are smoothed first where that is asked for."""
        kept = {"head": self.head, "embedding": self.embed, "tied": self.embed}.get(block.role) == "float"
        if kept:
            return
        if block.role == "layer" and self.act == "dynamic" and self.smooth == "auto":
            stats = smooth(block, stats, _with_dynamic_inputs)
        super().run(block, stats)

    def apply(self, name: str, weight: Weight, stats: InputStatistics) -> Weight:
        """One matrix in 8 bits; with dynamic inputs where its statistics are known and the error allows."""
        if not isinstance(weight, Dense):
            raise PassError(f"int8 quantizes dense weights; {name} is {type(weight).__name__}")
        if name in stats:
            dynamic, x = _with_dynamic_inputs(weight.tensor), stats[name].sample
            if output_error(x @ weight.dequantize().T, dynamic, x) <= self.fallback:
                return dynamic
        return round_to_nearest(weight.tensor, self._group_for(weight.shape[1]))

    def _group_for(self, features: int) -> int:
        if self.group == "channel":
            return features
        if self.group == "auto":
            return next((group for group in _GROUPS if features % group == 0), features)
        return int(self.group)


def _no_fit(group: str, name: str, features: int) -> UsageError:
    fits = next((str(g) for g in (128, *_GROUPS) if features % g == 0), "channel")
    return UsageError(f"int8: group={group} doesn't divide the {features} inputs of {name}; use group={fits} or auto")


def _with_dynamic_inputs(matrix: Tensor) -> Quantized:
    """A matrix for kernels that round the inputs too: one scale a channel, and codes that can't saturate."""
    return round_to_nearest(matrix, matrix.shape[1], HEADROOM_LEVELS, act="dynamic")
