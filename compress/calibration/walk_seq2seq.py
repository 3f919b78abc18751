"""The walk through an encoder-decoder: the encoder's layers, and then the decoder's, which read what those made.

The calibration text is what the encoder reads and what the decoder is to write: the decoder's own inputs are the same
windows one token later (teacher forcing). Both are looked up at the start, so that no embedding stays in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.calibration.block import Block
from compress.calibration.blocks import last_blocks, layer_block, outer_block
from compress.calibration.data import BATCH
from compress.calibration.layer_inputs import BlockInputs, LayerInputs
from compress.calibration.layer_runner import Call, Calls
from compress.calibration.load_state import compute_buffers, fill, materialise
from compress.calibration.precision import waiting
from compress.calibration.walk import Known
from compress.checkpoint.model import Model
from compress.modeling.families import FAMILIES
from compress.modeling.modules import Layers, replaced, stacks
from compress.modeling.seq2seq import decoder_inputs
from compress.progress import Progress
from compress.system.memory import release_memory

_MEMORY = object()
"""Stands in a decoder layer's call for what the encoder made of the batch."""
_BIASES = object()
"""Stands in a layer's call for the biases of attention that the stack's first layer makes."""
_QUERIES = ("EncDecAttention.q.weight", "encoder_attn.q_proj.weight")
"""What reads alone and has the hidden states' width, but isn't added to them."""


def walk_halves(
    model: Model, tokens: Tensor | None, progress: Progress, originals: bool, doing: str
) -> Iterator[tuple[Block, BlockInputs]]:
    """As `walk_blocks`, through both halves."""
    module = model.meta_module()
    both = stacks(module)
    inside = tuple(f"{path}." for path, _ in both)
    outside = [name for name in model.names if not name.startswith(inside)]
    embedding = outer_block(model, module, "tied" if model.tied else "embedding", outside)
    first = {name: weight.dequantize() for name, weight in embedding.weights.items()} if originals else {}
    outer = set(embedding.weights)

    yield embedding, BlockInputs()
    beside = tuple(path.rpartition(".")[0] + "." for path, _ in both)  # in the halves, but in no layer
    others = {name: model.tensor(name).float() for name in outside if name.startswith(beside) and tokens is not None}
    before = now = None
    if tokens is not None:
        if originals:
            before = _Flow(module, both, tokens, others | first)
        now = _Flow(module, both, tokens, others | {n: weight.dequantize() for n, weight in embedding.weights.items()})
    del embedding, first
    release_memory()
    places = [(half, i) for half in (0, 1) for i in range(len(both[half][1]))]
    for half, i in progress.track(places, doing, unit="layer"):
        path, layers = both[half]
        block = layer_block(model, f"{path}.{i}")
        if now is None:
            yield block, BlockInputs()
            continue
        if (half, i) == (1, 0):
            for flow in filter(None, (now, before)):
                flow.cross(module, both[0], others)
        compute_buffers(module, layers[i])
        if i == 0 and before is not None:
            fill(layers[i], block)
            before.bias(half, layers[i])
        inputs = now.inputs(half, i, layers[i], block, before)
        yield block, inputs
        inputs.advance()
        if i == 0:
            now.bias(half, layers[i])
        layers[i].to("meta")
        release_memory()
    yield from last_blocks(model, module, [name for name in outside if name not in outer])


@dataclass(frozen=True)
class CrossCalls(Calls):
    """Those of a decoder's layer: ``memories`` are what the encoder made of each batch, and the original encoder."""

    memories: tuple[Sequence[Tensor], Sequence[Tensor]]

    def call(self, batch: int, original: bool) -> Call:
        """With what the encoder made of that very batch where that is marked; the original's with the original's."""
        args, kwargs = super().call(batch, original)
        memory = self.memories[original][batch].float()
        return tuple(memory if each is _MEMORY else each for each in args), kwargs


class CrossInputs(LayerInputs):
    """The inputs of a decoder's layer."""

    def writes_residual(self, name: str) -> bool:
        """As of any layer; but the queries of cross-attention are added to nothing."""
        return not name.endswith(_QUERIES) and super().writes_residual(name)


class _Flow:
    """A text on its way through both halves: ``states`` reach the next layer of each, batch by batch."""

    def __init__(
        self, module: PreTrainedModel, both: Sequence[Layers], tokens: Tensor, state: Mapping[str, Tensor]
    ) -> None:
        _materialise(module, state)
        encoder, decoder = (_Recording(module, stack) for stack in both)
        with replaced(module, both[0], encoder.layers), replaced(module, both[1], decoder.layers), torch.no_grad():
            for batch in tokens.split(BATCH):
                mask = torch.ones_like(batch)
                read = module.get_encoder()(input_ids=batch, attention_mask=mask)[0]
                encoder.keep(None)
                written = decoder_inputs(module.config, batch)
                module.get_decoder()(
                    input_ids=written, encoder_hidden_states=read, encoder_attention_mask=mask, use_cache=False
                )
                decoder.keep(read)
        self.states = [encoder.states, decoder.states]
        self.calls = [encoder.calls, decoder.calls]
        self.memories: list[Tensor] = []
        self.biases = FAMILIES[module.config.model_type].biases
        module.to("meta")  # type: ignore[arg-type]  # transformers' wrapper hides the signature

    def inputs(self, half: int, i: int, layer: nn.Module, block: Block, original: _Flow | None) -> LayerInputs:
        """Those of a layer, with the original's beside them."""
        states, calls = self.states[half], self.calls[half][i]
        before = original.states[half] if original is not None else None
        if half == 0:
            return LayerInputs(layer, block, states, before, Calls(calls, states))
        memories = self.memories, original.memories if original is not None else []
        return CrossInputs(layer, block, states, before, CrossCalls(calls, states, memories))

    def bias(self, half: int, first: nn.Module) -> None:
        """Call a stack's other layers with the biases that its first one makes, where the family's does."""
        if self.biases is None:
            return
        length = self.states[half][0].shape[1]
        with torch.no_grad():
            made: Tensor = first.get_submodule(self.biases).compute_bias(length, length)  # type: ignore[operator]
        for known in self.calls[half]:
            for size, (args, kwargs) in known.items():
                known[size] = tuple(made if each is _BIASES else each for each in args), kwargs

    def cross(self, module: PreTrainedModel, stack: Layers, state: Mapping[str, Tensor]) -> None:
        """Let the encoder end: what follows its layers makes of their outputs what the decoder reads."""
        _materialise(module, state)
        for states in self.states[0]:
            last = _Layer(module, states.float())
            with replaced(module, stack, [last] * len(stack[1])), torch.no_grad():
                mask = torch.ones(states.shape[:2], dtype=torch.long)
                self.memories.append(waiting(module.get_encoder()(inputs_embeds=last.says, attention_mask=mask)[0]))
        self.states[0] = []
        module.to("meta")  # type: ignore[arg-type]  # as above


class _Layer(nn.Module):
    """Stands in for a layer: remembers what it is called with, and hands the hidden states on or ``says`` others."""

    def __init__(self, module: PreTrainedModel, says: Tensor | None = None) -> None:
        super().__init__()
        self.biased = FAMILIES[module.config.model_type].biases is not None
        self.says = says
        self.called: list[Any] = []

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        self.called.append((hidden, args, kwargs))
        said = hidden if self.says is None else self.says
        return (said, _BIASES, None) if self.biased else said


class _Recording:
    """What reaches the first layer of a stack, and what all its layers are called with besides."""

    def __init__(self, module: PreTrainedModel, stack: Layers) -> None:
        self.layers = [_Layer(module) for _ in stack[1]]
        self.states: list[Tensor] = []
        self.calls: Known = [{} for _ in self.layers]

    def keep(self, read: Tensor | None) -> None:
        """Take in the batch that was run last, ``read`` being what the decoder read of the encoder's."""
        self.states.append(waiting(self.layers[0].called[0][0]))
        for layer, known in zip(self.layers, self.calls, strict=True):
            [(hidden, args, kwargs)] = layer.called
            layer.called = []
            marked = tuple(_MEMORY if each is read and read is not None else each for each in args)
            known.setdefault(len(hidden), (marked, kwargs))


def _materialise(module: PreTrainedModel, state: Mapping[str, Tensor]) -> None:
    """Bring what is given of a module off the meta device, under all of its names, and what it makes itself."""
    twice = {name: state[source] for name, source in module.all_tied_weights_keys.items() if source in state}
    materialise(module, {**state, **twice})
    for half in (module.get_encoder(), module.get_decoder()):
        for name, child in half.named_children():
            if isinstance(child, nn.Embedding) and child.weight.is_meta and name == "embed_positions":
                child.to_empty(device="cpu")
                module._init_weights(child)  # only the class knows what is in it
