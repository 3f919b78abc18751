"""Arguments of a repeated layer, batch by batch: its hidden states, and what it is called with besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from torch import Tensor

Arguments = tuple[tuple[object, ...], dict[str, object]]
"""Positional and keyword arguments of a call."""


class Placeholder(Enum):
    """Placeholder in recorded arguments for a tensor that isn't computed yet."""

    ENCODER_STATES = auto()
    """what a decoder's layer reads of the encoder's for that very batch"""
    POSITION_BIAS = auto()
    """the bias of attention by position that a stack's first layer computes for all of them"""


@dataclass(frozen=True)
class LayerArguments:
    """Arguments of a layer's calls, batch by batch.

    ``states`` are the hidden states ``[windows, length, width]`` of each batch. ``others`` are the arguments besides
    (masks, positions), by the number of windows in a batch; where they hold `Placeholder.ENCODER_STATES`, a batch's
    own ``encoder_states`` are put.
    """

    states: list[Tensor]
    others: Mapping[int, Arguments]
    encoder_states: Sequence[Tensor] = ()

    def call(self, batch: int) -> Arguments:
        """A batch's arguments, its hidden states in float32 first."""
        args, kwargs = self.others[len(self.states[batch])]
        if self.encoder_states:
            args = put(Placeholder.ENCODER_STATES, self.encoder_states[batch].float(), args)
        return (self.states[batch].float(), *args), kwargs


def put(placeholder: Placeholder, tensor: Tensor, args: tuple[object, ...]) -> tuple[object, ...]:
    """Positional arguments with a tensor where its placeholder was."""
    return tuple(tensor if argument is placeholder else argument for argument in args)
