"""Wrapper modules for tracing a model and one of its layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from transformers import PreTrainedModel

from compress.export.traced.attention import TracedCache
from compress.export.traced.torch_export import ExampleInput
from compress.modeling.modules import StandIn

DOMAIN = "compress"
"""ONNX domain of the placeholder nodes that stand for layers."""


@dataclass
class TracedCall:
    """A layer's arguments in one call: ``leaves`` are all of them, flat, ``spec`` puts them together again; ``inputs``
    are like their tensors, to trace the layer with."""

    leaves: list[Any]
    spec: pytree.TreeSpec
    inputs: list[ExampleInput]

    @property
    def group(self) -> str:
        """Key that is equal for two calls that one graph serves."""
        settings = [None if isinstance(leaf, Tensor | TracedCache) else leaf for leaf in self.leaves]
        return repr((settings, self.spec, self.inputs))


class LayerPlaceholder(StandIn):
    """Takes a ``layer``'s place in the traced model: keeps its call and leaves a node with the same inputs.

    ``outputs`` as in `DryRun`.
    """

    def __init__(self, layer: nn.Module, index: int, outputs: int, calls: dict[int, TracedCall]) -> None:
        super().__init__(layer)
        self.index = index
        self.outputs = outputs
        self.calls = calls

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Leave the node and return its output, like the hidden states that come in."""
        leaves, spec = pytree.tree_flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        hidden = args[0] if args else kwargs["hidden_states"]
        self.calls[self.index] = TracedCall(leaves, spec, [ExampleInput.like(tensor) for tensor in tensors])
        out = torch.onnx.ops.symbolic(
            f"{DOMAIN}::Layer", tensors, {"index": self.index}, dtype=hidden.dtype, shape=hidden.shape, version=1
        )
        return (out, *[None] * (self.outputs - 1)) if self.outputs else out


class ModelWrapper(nn.Module):
    """A model as a graph calls it: inputs by ``names`` (ids, mask and positions, or pixels), one ``output``.

    ``embeds``: it is a decoder that writes no text, which would make a cache of its own.
    """

    def __init__(
        self, inner: PreTrainedModel, names: Sequence[str], decoder: bool, output: str, embeds: bool = False
    ) -> None:
        super().__init__()
        self.inner = inner
        self.names = names
        self.decoder = decoder
        self.output = output
        self.embeds = embeds

    def forward(self, tensors: list[Tensor]) -> Tensor:
        """Logits, or an encoder's last hidden states."""
        arguments: dict[str, Any] = dict(zip(self.names, tensors, strict=True))
        if self.decoder:
            ids, mask = arguments["input_ids"], arguments["attention_mask"]
            past = TracedCache(mask.shape[1] - ids.shape[1])
            arguments |= {"past_key_values": past, "use_cache": True}
        elif self.embeds:
            arguments["use_cache"] = False
        output: Tensor = getattr(self.inner(**arguments), self.output)
        return output


class LayerWrapper(nn.Module):
    """A layer as a graph calls it: the tensors of its call, then keys and values so far; and back come all of them."""

    def __init__(self, layer: nn.Module, call: TracedCall, past: TracedCache | None) -> None:
        super().__init__()
        self.layer = layer
        self.call = call
        self.past = past

    def forward(self, tensors: list[Tensor]) -> tuple[Tensor, ...]:
        """Hidden states, and for a layer with a cache its keys and values by then."""
        inputs = iter(tensors[: len(self.call.inputs)])
        if self.past is not None:
            old = tensors[len(self.call.inputs) :]
            self.past.own, self.past.new = ((old[0], old[1]) if old else None), None
        leaves = [self._argument(leaf, inputs) for leaf in self.call.leaves]
        args, kwargs = pytree.tree_unflatten(leaves, self.call.spec)
        out = self.layer(*args, **kwargs)
        hidden = out[0] if isinstance(out, tuple | list) else out
        return (hidden, *(self.past.new or ())) if self.past is not None else (hidden,)

    def _argument(self, leaf: Any, inputs: Iterator[Tensor]) -> Any:
        """The next input for a tensor of the call, this layer's own cache for its cache, anything else as it was."""
        if isinstance(leaf, Tensor):
            return next(inputs)
        return self.past if isinstance(leaf, TracedCache) else leaf
