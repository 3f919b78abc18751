"""What torch traces of a model: the model with stand-ins for its layers, and a layer by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from transformers import PreTrainedModel

from compress.export.traced.attention import TracedCache
from compress.export.traced.torch_export import ExampleInput

DOMAIN = "compress"
"""Of the nodes that stand for layers."""


@dataclass
class TracedCall:
    """What a layer is called with: all arguments, flat, with their tensors as inputs to trace it with."""

    leaves: list[Any]
    spec: pytree.TreeSpec
    inputs: list[ExampleInput]

    @property
    def kind(self) -> str:
        """What is the same of two calls that the same graph does for."""
        settings = [None if isinstance(leaf, Tensor | TracedCache) else leaf for leaf in self.leaves]
        return repr((settings, self.spec, self.inputs))


class LayerPlaceholder(nn.Module):
    """Takes a layer's place: notes what it is called with and leaves a node that is called the same."""

    def __init__(self, index: int, pairs: bool, calls: dict[int, TracedCall]) -> None:
        super().__init__()
        self.index = index
        self.pairs = pairs
        self.calls = calls

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The hidden states that it is given, as what that node makes of them."""
        leaves, spec = pytree.tree_flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        hidden = args[0] if args else kwargs["hidden_states"]
        self.calls[self.index] = TracedCall(leaves, spec, [ExampleInput.like(tensor) for tensor in tensors])
        out = torch.onnx.ops.symbolic(
            f"{DOMAIN}::Layer", tensors, {"index": self.index}, dtype=hidden.dtype, shape=hidden.shape, version=1
        )
        return (out, None) if self.pairs else out


class ModelWrapper(nn.Module):
    """A model as a graph calls it: ids, mask and positions in, or pixels; one tensor out."""

    def __init__(self, inner: PreTrainedModel, names: Sequence[str], decoder: bool, output: str) -> None:
        super().__init__()
        self.inner = inner
        self.names = names
        self.decoder = decoder
        self.output = output

    def forward(self, tensors: list[Tensor]) -> Tensor:
        """Logits, or an encoder's last hidden states."""
        given: dict[str, Any] = dict(zip(self.names, tensors, strict=True))
        if self.decoder:
            ids, mask = given["input_ids"], given["attention_mask"]
            past = TracedCache(mask.shape[1] - ids.shape[1])
            given |= {"past_key_values": past, "use_cache": True}
        said: Tensor = getattr(self.inner(**given), self.output)
        return said


class LayerWrapper(nn.Module):
    """A layer as a graph calls it: the tensors of its call, then keys and values so far; and back come all of them."""

    def __init__(self, layer: nn.Module, call: TracedCall, past: TracedCache | None) -> None:
        super().__init__()
        self.layer = layer
        self.call = call
        self.past = past

    def forward(self, tensors: list[Tensor]) -> tuple[Tensor, ...]:
        """Hidden states, and for a layer with a cache its keys and values by then."""
        given = iter(tensors[: len(self.call.inputs)])
        if self.past is not None:
            old = tensors[len(self.call.inputs) :]
            self.past.own, self.past.new = ((old[0], old[1]) if old else None), None
        leaves = [
            next(given) if isinstance(leaf, Tensor) else self.past if isinstance(leaf, TracedCache) else leaf
            for leaf in self.call.leaves
        ]
        args, kwargs = pytree.tree_unflatten(leaves, self.call.spec)
        out = self.layer(*args, **kwargs)
        hidden = out[0] if isinstance(out, tuple) else out
        return (hidden, *(self.past.new or ())) if self.past is not None else (hidden,)
