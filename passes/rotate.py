"""Pass ``rotate``: channels mixed by rotations that cancel out, so that none is larger than the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.errors import UsageError
from compress.lazy import torch
from compress.pipeline.contract import WeightPass
from compress.weights.forms import Dense

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from compress.calibration.block import BlockRole
    from compress.calibration.statistics import InputStatistics
    from compress.checkpoint.base import ModelOutline
    from compress.checkpoint.model import Model
    from compress.modeling.architecture import Architecture
    from compress.modeling.spaces.space import Space, Spaces
    from compress.pipeline.contract import TargetCapability
    from compress.weights.forms import Weight
    from compress.weights.stored import StoredForm

_ITEMSIZE = 4
"""Bytes of a number afterwards: rotated numbers lie on no 16-bit grid."""


@dataclass(frozen=True)
class Rotate(WeightPass):
    """Rotate the residual stream and the heads' values by folding Hadamard matrices into the weights; nothing is lost.

    Norms' gains are folded into the linears behind them first. The checkpoint stays a standard one, in float32.
    """

    name: ClassVar[str] = "rotate"
    accepts: ClassVar[tuple[type, ...]] = (Dense,)
    produces: ClassVar[tuple[type, ...]] = (Dense,)

    residual: Literal["auto", "on", "off"] = Field(
        "auto",
        description="the residual stream (R1): a tied head can't follow it behind the last norm's gain, so on gives "
        "the model a head of its own; auto: on where that costs nothing",
    )
    heads: Literal["on", "off"] = Field("on", description="the values of each attention head (R2)")
    own_head: bool = Field(False, exclude=True)
    """Whether a tied model gets a head of its own, once the model is known."""

    def resolve(self, model: ModelOutline, target: TargetCapability) -> Self:
        """Decide whether the residual stream is rotated; refuse a model of which nothing can be."""
        name, stream_reason = model.class_name, self._stream_reason(model)
        if self.residual == self.heads == "off":
            raise UsageError("rotate: residual=off:heads=off rotates nothing; leave one of them on")
        if self.residual == "on" and stream_reason:
            raise UsageError(
                f"rotate: the residual stream of a {name} can't be rotated: {stream_reason}; use residual=off"
            )
        residual = self.residual
        if residual == "auto":
            residual = "off" if model.tied or stream_reason else "on"
        heads_reason = _spaces(model.architecture).heads_reason
        if residual == "off" and (self.heads == "off" or heads_reason):
            why = f"its residual stream {self._why_off(model)}"
            why += "; leave out heads=off" if self.heads == "off" else f"; its heads can't be: {heads_reason}"
            raise UsageError(f"rotate: of a {name} nothing is rotated: {why}")
        return replace(self, residual=residual, own_head=model.tied and residual == "on")

    def notices(self, model: ModelOutline, target: TargetCapability) -> Sequence[str]:
        """What stays as it is, and what a head of its own costs."""
        lines = []
        if self.residual == "off":
            lines.append(f"the residual stream {self._why_off(model)}")
        elif self.own_head:
            lines.append(f"the head, tied to the embedding so far, becomes one of its own, {_head_size(model)} more")
        if self.heads == "on" and (reason := _spaces(model.architecture).heads_reason):
            lines.append(f"the heads stay as they are: {reason}")
        return lines

    def comes_first(self) -> bool:
        """Whether it works on the model as its user has it: always."""
        return True

    def mixes_channels(self) -> bool:
        """Whether channels are told apart no longer: where a rotation is left."""
        return True

    def resize(self, config: PretrainedConfig) -> None:
        """Write into the config that the head is no longer the embedding."""
        if self.own_head:
            config.tie_word_embeddings = False

    def predict(self, name: str, role: BlockRole, stored: StoredForm) -> StoredForm:
        """Predict the same matrix in float32."""
        return stored.dense(stored.shape, max(stored.itemsize, _ITEMSIZE))

    def vector_itemsize(self, itemsize: int) -> int:
        """Bytes of a vector's number: four."""
        return max(itemsize, _ITEMSIZE)

    def reparameterize(self, model: Model) -> Model:
        """The model with its spaces rotated, and a head of its own where that is needed."""
        from compress.checkpoint.edited import EditedModel, untied
        from compress.passes.solvers.rotated_tensors import RotatedTensors

        model = untied(model) if self.own_head else model
        spaces = _spaces(model.architecture)
        chosen: list[Space] = [*(spaces.streams if self.residual == "on" else ())]
        chosen += spaces.heads if self.heads == "on" else ()
        generator = torch.Generator().manual_seed(torch.initial_seed() % (1 << 63))
        return EditedModel.of(model, RotatedTensors(chosen, lambda name: model.weight(name).tensor, generator))

    def apply(self, name: str, weight: Weight, stats: InputStatistics) -> Weight:
        """Leave the matrix as it is: it was rotated as it was read (`reparameterize`)."""
        return weight

    def _stream_reason(self, model: ModelOutline) -> str | None:
        """Reason why the residual stream can't be rotated, the head untied; None where it can."""
        if model.tied and model.kind.is_seq2seq:
            return "an encoder-decoder's head stays tied to its embedding"
        spaces = _spaces(model.architecture)
        tied = next((space.tied for space in spaces.streams if space.tied), None)
        if tied and not (model.tied and tied == model.architecture.outline.embedding):
            return f"{tied} both writes to it and reads it"
        return spaces.stream_reason

    def _why_off(self, model: ModelOutline) -> str:
        if reason := self._stream_reason(model):
            return f"can't be rotated: {reason}"
        if model.tied:
            return f"stays as it is: residual=on gives the model a head of its own, {_head_size(model)} more"
        return "stays as it is: residual=off"


def _spaces(architecture: Architecture) -> Spaces:
    from compress.modeling.spaces.trace import find_spaces

    return find_spaces(architecture)


def _head_size(model: ModelOutline) -> str:
    """The number of weights of the head, in millions."""
    head = model.architecture.outline.head
    assert head is not None, "what is tied is a head"
    return f"{math.prod(model.shape(head)) / 1e6:.3g} M weights"
