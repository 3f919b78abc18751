"""Rounding in torch as an exported graph's operators do it: of what linears multiply, of what a cache keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import DynamicCache

from compress.calibration.precision import per_token
from compress.export.lowering.kv_scales import Scales
from compress.onnx_names import past_name

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


@contextmanager
def rounded_inputs(module: PreTrainedModel) -> Iterator[None]:
    """Let every linear of a module round its inputs to 8 bits, token by token, as integer operators do.

    A sound model hardly notices; one that is broken (as by rounding to 2 bits) may amplify it a hundredfold.
    """
    linears = [child for child in module.modules() if isinstance(child, torch.nn.Linear)]
    hooks = [linear.register_forward_pre_hook(_round_inputs) for linear in linears]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def rounded_cache(module: PreTrainedModel, scales: Scales) -> Iterator[None]:
    """Let a decoder keep its keys and values as int8 by ``scales``, as GroupQueryAttention does."""

    def keep(base: torch.nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if options.get("past_key_values") is None:
            options["past_key_values"] = _RoundedCache(module.config, scales)
        return args, options

    hook = module.base_model.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


class _RoundedCache(DynamicCache):
    """A cache that rounds what it takes in."""

    def __init__(self, config: PretrainedConfig, scales: Scales) -> None:
        super().__init__(config=config)
        self.scales = scales

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Append new ``[b, heads, s, size]``, rounded."""
        keys, values = self._rounded(layer_idx, "key", key_states), self._rounded(layer_idx, "value", value_states)
        return super().update(keys, values, layer_idx, *args, **kwargs)

    def _rounded(self, layer: int, part: str, states: Tensor) -> Tensor:
        scale = self.scales[past_name(layer, part)]
        scale = scale.repeat_interleave(states.shape[1] // scale.shape[1], 1)  # torch may store a head for each query
        return (states / scale).round().clamp(-128, 127) * scale


def _round_inputs(module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (per_token(inputs[0]), *inputs[1:])
