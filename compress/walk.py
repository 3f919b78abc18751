"""The walk: a model's blocks one after another, each with the statistics of its linears' inputs.

Only the block at hand is in memory. Statistics are taken on the already compressed prefix: whatever a pass has done to
the blocks before is in the inputs that the next block sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.block import Block, Role, folds_of
from compress.contract import Statistic
from compress.errors import ModelError
from compress.model import Model
from compress.progress import Progress
from compress.statistics import SAMPLE_ROWS, InputStatistics, LinearInput
from compress.weight import Dense

Calls = dict[int, list[tuple[tuple[Any, ...], dict[str, Any]]]]
"""What each layer is called with besides its hidden states (masks, positions), by batch size, then by layer."""

_BATCH = 4
"""Calibration windows that go through a block together."""


def walk_blocks(
    model: Model, tokens: Tensor | None, progress: Progress
) -> Iterator[tuple[Block, Callable[[Statistic], InputStatistics]]]:
    """Yield the embedding, every layer and the head; what the caller leaves in a block feeds the next one.

    With each comes a function that takes the statistics of the inputs which its linears have *now*, so that a second
    pass sees what the first one left. ``tokens`` int64 ``[windows, length]`` are the calibration text; without them no
    forward pass is ever run and the statistics are empty.
    """
    module = model.meta_module()
    path, layers = layer_list(module)
    prefixes = [f"{path}.{i}" for i in range(len(layers))]
    outside = [name for name in model.names if not name.startswith(f"{path}.")]
    embedding, head, rest = _outer_blocks(model, module, outside)

    yield embedding, _nothing
    states: list[Tensor] = []
    calls: Calls = {}
    if tokens is not None:
        _materialise(module, model, outside, embedding)
        states, calls = _layer_inputs(module, path, tokens)
    for i, prefix in enumerate(progress.track(prefixes, "compressing", unit="layer")):
        block = _layer_block(model, prefix)
        if tokens is None:
            yield block, _nothing
        else:
            yield block, partial(_observe, layers[i], i, block, states, calls)
            _fill(layers[i], block)
            states = _advance(layers[i], i, states, calls)
            layers[i].to("meta")
    if head.weights:
        yield head, _nothing
    yield rest, _nothing


def _nothing(level: Statistic) -> InputStatistics:
    return {}


def layer_list(module: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """The path and the list of a model's repeated layers."""
    count = module.config.num_hidden_layers
    for name, child in module.named_modules():
        if isinstance(child, nn.ModuleList) and len(child) == count:
            return name, child
    raise ModelError(f"{type(module).__name__}: found no list of {count} layers to walk over")


def _outer_blocks(model: Model, module: PreTrainedModel, outside: list[str]) -> tuple[Block, Block, Block]:
    """The token embedding, the head (empty where it is tied to the embedding, or absent) and everything else."""

    def block(role: Role, owner: nn.Module | None) -> Block:
        names = [f"{n}.weight" for n, m in module.named_modules() if m is owner and f"{n}.weight" in outside]
        return Block(role, role, {name: model.weight(name) for name in names}, {})

    embedding = block("tied" if model.tied else "embedding", module.get_input_embeddings())
    head = block("head", module.get_output_embeddings())
    taken = {*embedding.weights, *head.weights}
    return embedding, head, Block("rest", "rest", {}, {n: model.tensor(n) for n in outside if n not in taken})


def _layer_block(model: Model, prefix: str) -> Block:
    names = [name for name in model.names if name.startswith(f"{prefix}.")]
    tensors = {name: model.tensor(name) for name in names}
    return Block(
        name=prefix,
        role="layer",
        weights={name: Dense(tensor) for name, tensor in tensors.items() if tensor.ndim == 2},
        vectors={name: tensor for name, tensor in tensors.items() if tensor.ndim != 2},
        folds=folds_of(model.config, prefix, frozenset(names)),
    )


def _fill(layer: nn.Module, block: Block) -> None:
    """Give a layer the weights that its block holds now, in float32."""
    state = {name: weight.dequantize() for name, weight in block.weights.items()}
    state |= {name: vector.float() for name, vector in block.vectors.items()}
    layer.load_state_dict({name.removeprefix(f"{block.name}."): t for name, t in state.items()}, assign=True)
    layer.requires_grad_(False)


def _materialise(module: PreTrainedModel, model: Model, outside: list[str], embedding: Block) -> None:
    """Bring everything outside the layers off the meta device; the embedding as a pass has left it."""
    stored = {name: weight.dequantize() for name, weight in embedding.weights.items()}
    state = {name: stored[name] if name in stored else model.tensor(name).float() for name in outside}
    module.load_state_dict(state, strict=False, assign=True)
    for child in module.modules():
        computed = {name: b for name, b in child.named_buffers(recurse=False) if b.is_meta}
        for name, buffer in computed.items():
            child.register_buffer(name, torch.empty_like(buffer, device="cpu"), persistent=False)
        if computed:
            module._init_weights(child)  # the only code that knows what such a buffer holds (rotary frequencies, …)


class _Recorder(nn.Module):
    """Stands in for a layer: remembers what it is called with, and passes the hidden states on."""

    def __init__(self, calls: list[Any]) -> None:
        super().__init__()
        self.calls = calls

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self.calls.append((hidden, args, kwargs))
        return hidden


def _layer_inputs(module: PreTrainedModel, path: str, tokens: Tensor) -> tuple[list[Tensor], Calls]:
    """The first layer's inputs, batch by batch, and what the layers are called with besides."""
    parent = module.get_submodule(path.rpartition(".")[0])
    attribute = path.rpartition(".")[2]
    layers = getattr(parent, attribute)
    recorded: list[Any] = []
    setattr(parent, attribute, nn.ModuleList(_Recorder(recorded) for _ in layers))
    states: list[Tensor] = []
    calls: Calls = {}
    try:
        for batch in tokens.split(_BATCH):
            recorded.clear()
            with torch.no_grad():
                module.base_model(input_ids=batch, attention_mask=torch.ones_like(batch), use_cache=False)
            states.append(recorded[0][0])
            calls.setdefault(len(batch), [(args, kwargs) for _, args, kwargs in recorded])
    finally:
        setattr(parent, attribute, layers)
    return states, calls


def _advance(layer: nn.Module, index: int, states: list[Tensor], calls: Calls) -> list[Tensor]:
    """A layer's outputs for every batch."""
    outputs = []
    with torch.no_grad():
        for state in states:
            args, kwargs = calls[len(state)][index]
            output = layer(state, *args, **kwargs)
            outputs.append(output[0] if isinstance(output, tuple) else output)
    return outputs


def _observe(
    layer: nn.Module, index: int, block: Block, states: list[Tensor], calls: Calls, level: Statistic
) -> dict[str, LinearInput]:
    """Statistics of every linear's input in a layer; linears that are handed the same tensor share theirs."""
    if level is Statistic.NONE:
        return {}
    _fill(layer, block)
    share = max(1, SAMPLE_ROWS // len(states))
    stats: dict[str, LinearInput] = {}
    current: list[tuple[Tensor, LinearInput]] = []  # the inputs of this forward pass, each with its statistics

    def watch(name: str, inputs: tuple[Tensor, ...]) -> None:
        entry = next((known for tensor, known in current if tensor is inputs[0]), None)
        if entry is None:
            entry = stats.get(name) or LinearInput(level)
            entry.update(inputs[0], share)
            current.append((inputs[0], entry))
        stats[name] = entry

    hooks = [
        linear.register_forward_pre_hook(lambda _, inputs, name=f"{block.name}.{path}.weight": watch(name, inputs))
        for path, linear in layer.named_modules()
        if isinstance(linear, nn.Linear)
    ]
    try:
        for state in states:
            current.clear()
            _advance(layer, index, [state], calls)
    finally:
        for hook in hooks:
            hook.remove()
    return stats
