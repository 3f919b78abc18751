"""Scales of the int8 cache of keys and values, measured on the torch model.

GroupQueryAttention rounds keys (after their rotation) and values as it writes them, to ``round(x / scale)`` within
int8, and multiplies with them as floats. A scale belongs to one channel of one head, ``[1, heads, 1, size]``.
Source: onnxruntime's CPU kernel (its ``docs/contrib_ops/cpu/gqa.md``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import onnx_ir as ir
import torch
from torch import Tensor
from transformers import DynamicCache

from compress.graph.builder import required, set_dtype
from compress.modeling.architecture import longest_input
from compress.onnx_names import BIT_WIDTH, PAST, PRESENT, QUANT_TYPES, SCALE, SCALES, past_name

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

Scales = Mapping[str, Tensor]
"""By the graph's input that they belong to, ``past_key_values.0.key``; empty where the cache is float."""

_LEVELS = 127
_HEADROOM = 1.25
_WINDOWS, _LENGTH = 4, 128
_TINY = 1e-6


def fill_scales(model: ir.Model, module: PreTrainedModel, ids: Tensor) -> Scales:
    """Measure the scales of a graph's int8 cache on ``ids [length]`` and write them into it; returns them."""
    inputs = {str(value.name): value.shape for value in model.graph.inputs if value.dtype == ir.DataType.INT8}
    if not inputs:
        return {}
    measured = measure_scales(module, ids)
    scales: dict[str, Tensor] = {}
    for name, shape in inputs.items():
        heads = int(required(shape)[1])  # type: ignore[arg-type]  # of a cache it is a number
        repeat = measured[name].shape[1] // heads  # torch may store a head for each query that reads it
        scales[name] = measured[name][:, ::repeat].contiguous()
        initializer = model.graph.initializers[f"{name}{SCALE}"]
        initializer.const_value = ir.tensor(scales[name].numpy(), name=initializer.name)
    return scales


def to_float_cache(model: ir.Model) -> None:
    """Make an int8 cache float again."""
    for node in model.graph:
        if BIT_WIDTH in node.attributes:
            for attribute in (*QUANT_TYPES, BIT_WIDTH):
                del node.attributes[attribute]
            node.resize_inputs(SCALES[0])
            for value in (*(node.inputs[i] for i in PAST), *(node.outputs[i] for i in PRESENT)):
                set_dtype(required(value), ir.DataType.FLOAT)


def measure_scales(module: PreTrainedModel, ids: Tensor) -> Scales:
    """The scales of a decoder's cache, from the ranges that keys and values reach, with a headroom of 25 %.

    They are taken on a text ``ids [length]`` and on windows of random tokens, which reach further than a few sentences.
    A rotation moves magnitude between a key's channels j and j + size / 2, never beyond the norm of the two: that norm
    counts as the range of both, so that what is measured at one position holds at all of them. On held-out text
    SmolLM2's KL divergence rises by 0.0024 nats that way; by 0.159 with plain ranges of the text alone.
    """
    config = module.config
    length = min(_LENGTH, longest_input(config))
    random = torch.randint(config.vocab_size, (_WINDOWS, length), generator=torch.Generator().manual_seed(0))
    reach: dict[str, Tensor] = {}
    with torch.inference_mode():
        for window in (ids[None], random):
            module.base_model(input_ids=window, past_key_values=_Ranges(config, reach), use_cache=True)
    return {name: (_HEADROOM * largest / _LEVELS).clamp_min(_TINY) for name, largest in reach.items()}


class _Ranges(DynamicCache):
    """A cache that notes in ``reach`` how far every channel goes."""

    def __init__(self, config: PretrainedConfig, reach: dict[str, Tensor]) -> None:
        super().__init__(config=config)
        self.reach = reach

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Note the ranges of new ``[b, heads, s, size]`` and append them."""
        first, second = key_states.chunk(2, -1)
        ranges = {"key": torch.hypot(first, second).repeat(1, 1, 1, 2), "value": value_states.abs()}
        for part, magnitudes in ranges.items():
            name, largest = past_name(layer_idx, part), magnitudes.amax((0, 2), keepdim=True)
            self.reach[name] = torch.maximum(self.reach.get(name, largest), largest)
        return super().update(key_states, value_states, layer_idx, *args, **kwargs)
