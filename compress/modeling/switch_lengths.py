"""Lengths of a text at which a model's own code does something else: windows, and rotations whose angles change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from compress.modeling.architecture import longest_input
from compress.modeling.rotations import switches

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_WINDOW = re.compile(
    r"(sliding|attention|local)_window(_size)?$|^window_size$|^attention_chunk_size$|^local_attention$"
)
_DISTANCE = re.compile(r"^relative_attention_max_distance$|^max_relative_positions$|^position_buckets$")
"""Names of settings in a config: of how far a token sees, and of the distance from which all are alike."""
_BFLOAT16_POSITIONS = 256
"""Positions that bfloat16 tells apart, in which transformers computes the biases of a Falcon with ALiBi."""
_SEES_ALL = ("full_attention",)


def switch_lengths(config: PretrainedConfig) -> tuple[int, ...]:
    """Numbers of tokens after which a model's code does something else, in order; none for most models.

    A window that no text of the model outgrows is none.
    """
    longest, numbers = longest_input(config), dict(_integers(config.to_dict()))
    types = getattr(config, "layer_types", None)
    windows = [n for name, n in numbers.items() if _WINDOW.search(name)]
    if types is not None and set(types) <= set(_SEES_ALL):
        windows = []
    distances = [n for name, n in numbers.items() if _DISTANCE.search(name)]
    rounded = [_BFLOAT16_POSITIONS] if config.model_type == "falcon" and config.alibi else []
    below = {n for n in (*windows, *distances, *rounded) if 1 < n < longest}
    return tuple(sorted(below | set(switches(config).values())))


def _integers(settings: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Whole numbers of a config by the names of their settings, nested ones too."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _integers(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            yield name, value
