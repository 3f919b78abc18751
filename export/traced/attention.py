"""Trace transformers attention as one ONNX ``Attention`` per layer, on its own cache.

While a layer is traced its attention function is this one, and its cache hands new keys and values on alone: the
operator appends them to the old ones itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel
from transformers.masking_utils import sdpa_mask

from compress.modeling.transformers_private import attention_backend

_NAME = "compress_traced"


class TracedCache(DynamicCache):
    """A cache of which only the length is known, ``length`` tokens; layers take theirs in `own`.

    ``own`` are the old keys and values ``[b, heads, past, size]`` of the one layer that is traced, ``new`` what its
    attention leaves: all of them.
    """

    def __init__(self, length: Any, own: tuple[Tensor, Tensor] | None = None) -> None:
        super().__init__()
        self.length = length
        self.own = own
        self.new: tuple[Tensor, Tensor] | None = None

    def get_seq_length(self, layer_idx: int = 0) -> Any:
        """Tokens in the cache."""
        return self.length

    def get_query_offset(self, layer_idx: int = 0) -> Any:
        """The position of the first new token."""
        return self.length

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[Any, int]:
        """Number of keys, and where they begin: nothing is forgotten, windows are the mask's affair."""
        return self.length + query_length, 0

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Return the new keys and values alone, ``[b, heads, s, size]``: the operator appends them itself."""
        return key_states, value_states


class ProbeCache(TracedCache):
    """A cache that ends a run as soon as it is given keys and values, and keeps them."""

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.probed: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Keep keys and values ``[b, heads, s, size]`` and end the run."""
        self.probed = key_states, value_states
        raise ProbeDone


class ProbeDone(Exception):  # noqa: N818 -- it ends a run early and is no error
    """Raised by a `ProbeCache` once a layer's keys and values have reached it."""


@contextmanager
def traced_attention(model: PreTrainedModel, past: TracedCache | None) -> Iterator[None]:
    """Inside, a model's attention becomes an operator, and its masks are bool ``[b, 1, s, t]``.

    Attention that isn't transformers' common one stays as the model spells it out.
    """

    def attend(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        softcap: float | None = None,
        is_causal: bool | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, None]:
        out, *cache = _operator(query, key, value, attention_mask, None if past is None else past.own, scaling, softcap)
        if cache and past is not None:
            past.new = cache[0], cache[1]
        return out, None

    with attention_backend(model, _NAME, attend, _mask):
        yield


def _mask(*args: Any, **kwargs: Any) -> Tensor:
    """The mask as a tensor, also where attention could do without; none where nothing can be padded, as in images."""
    bare = kwargs.get("attention_mask") is None and kwargs.get("allow_is_bidirectional_skip", False)
    mask: Any = sdpa_mask(*args, **{**kwargs, "allow_is_causal_skip": False, "allow_is_bidirectional_skip": bare})
    return mask  # type: ignore[no-any-return]  # None only where attention may do without


def _operator(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    past: tuple[Tensor, Tensor] | None,
    scaling: float | None,
    softcap: float | None,
) -> list[Tensor]:
    """``Attention`` on ``[b, heads, s, size]``; its output ``[b, s, heads, size]``, and the keys and values by then."""
    batch, heads, length, size = query.shape
    shared, width = key.shape[1], value.shape[3]
    attrs: dict[str, Any] = {
        "q_num_heads": heads,
        "kv_num_heads": shared,
        "scale": float(size**-0.5 if scaling is None else scaling),
    }
    if softcap:
        attrs["softcap"] = float(softcap)
    flat = [states.transpose(1, 2).reshape(batch, states.shape[2], -1) for states in (query, key, value)]
    inputs: list[Tensor | None] = [*flat, mask, *(past or ())]
    shapes: list[list[Any]] = [[batch, length, heads * width]]
    if past is not None:
        total = past[0].shape[2] + key.shape[2]
        shapes += [[batch, shared, total, size], [batch, shared, total, width]]
    out, *cache = torch.onnx.ops.symbolic_multi_out(
        "Attention", inputs, attrs, dtypes=[query.dtype] * len(shapes), shapes=shapes, version=23
    )
    return [out.reshape(batch, length, heads, width), *cache]
