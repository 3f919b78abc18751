"""Made-up caches of keys and values, behind which a few tokens lie as late as in a long text."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import DynamicCache

from compress.onnx_names import past_name

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedModel

LongCache = tuple["Cache", dict[str, Tensor]]
"""A cache, and what it was filled with ``[1, heads, length, size]`` by the inputs of a graph."""


def random_cache(module: PreTrainedModel, ids: Tensor, length: int) -> LongCache:
    """A cache of ``length`` random keys and values, of the magnitudes that those of a text ``ids [s]`` have.

    Values are the larger the more there are: by one key that should have left a window, or shouldn't, an output is off
    by more than rounding.
    """
    generator = torch.Generator().manual_seed(0)

    def random(states: Tensor, factor: float) -> Tensor:
        _, heads, _, size = states.shape
        repeat = int((states == states[:, :1]).flatten(2).all(-1).sum())  # a head for each query that reads it
        drawn = torch.randn(1, heads // repeat, length, size, generator=generator) * states.std() * factor
        return drawn.repeat_interleave(repeat, 1)

    return _filled_cache(module, ids, lambda keys, values: (random(keys, 1.0), random(values, length**0.5)))


def repeated_cache(module: PreTrainedModel, ids: Tensor, length: int) -> LongCache:
    """A cache of ``length`` keys and values, those of a text ``ids [s]`` over and over.

    A trained model has learned to read these: at random ones, float32 costs SmolLM2 50 to 100 times as much.
    """

    def repeated(states: Tensor) -> Tensor:
        return states.repeat(1, 1, -(-length // states.shape[2]), 1)[:, :, :length]

    return _filled_cache(module, ids, lambda keys, values: (repeated(keys), repeated(values)))


def _filled_cache(
    module: PreTrainedModel, ids: Tensor, fill: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
) -> LongCache:
    """A cache of what ``fill`` makes of each layer's keys and values of a text."""
    like = module.base_model(input_ids=ids[None], use_cache=True).past_key_values
    cache = DynamicCache(config=module.config)
    states: dict[str, Tensor] = {}
    for i, layer in enumerate(like.layers):
        keys, values = fill(layer.keys, layer.values)
        states |= {past_name(i, "key"): keys, past_name(i, "value"): values}
        cache.update(keys.to(layer.keys.dtype), values.to(layer.values.dtype), i)
    return cache, states
