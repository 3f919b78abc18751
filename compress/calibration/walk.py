"""The walk: a model's blocks one after another, each with the statistics of its linears' inputs.

Only the block at hand is in memory. Statistics are taken on the already compressed prefix: whatever a pass has done to
the blocks before is in the inputs that the next block sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.calibration.block import Block
from compress.calibration.blocks import last_blocks, layer_block, outer_block
from compress.calibration.data import BATCH
from compress.calibration.layer_inputs import BlockInputs, LayerInputs
from compress.calibration.layer_runner import Call, Calls
from compress.calibration.load_state import compute_buffers, materialise
from compress.calibration.model_inputs import called
from compress.calibration.precision import waiting
from compress.checkpoint.model import Model
from compress.modeling.families import FAMILIES
from compress.modeling.kinds import sees
from compress.modeling.modules import Layers, layer_list, replaced
from compress.progress import Progress
from compress.system.memory import release_memory
from compress.weights.forms import Weight

Known = list[dict[int, Call]]
"""What each layer is called with besides its hidden states, by the number of windows in a batch."""


def walk_blocks(
    model: Model, tokens: Tensor | None, progress: Progress, originals: bool = False, doing: str = "compressing"
) -> Iterator[tuple[Block, BlockInputs]]:
    """Yield the embedding, every layer and the head; what the caller leaves in a block feeds the next one.

    With each come its inputs, from which statistics are taken on demand. ``tokens`` int64 ``[windows, length]`` are the
    calibration text, or images as `called` takes them; without them no forward pass is ever run. With ``originals`` the
    uncompressed model's hidden states ride along, for statistics that compare the two.
    """
    if model.kind == "encoder-decoder":
        from compress.calibration.walk_seq2seq import walk_halves  # here: it is made of parts of this module

        yield from walk_halves(model, tokens, progress, originals, doing)
        return
    module = model.meta_module()
    path, layers = layer_list(module)
    prefixes = [f"{path}.{i}" for i in range(len(layers))]
    outside = [name for name in model.names if not name.startswith(f"{path}.")]
    embedding = outer_block(model, module, "tied" if model.tied else "embedding", outside)
    first = dict(embedding.weights)
    outer = set(first)

    yield embedding, BlockInputs()
    states: list[Tensor] = []
    before: list[Tensor] | None = None
    calls: Known = []
    if tokens is not None:
        if originals:
            before, _ = _layer_inputs(module, (path, layers), tokens, _state(model, outside, first))
        states, calls = _layer_inputs(module, (path, layers), tokens, _state(model, outside, embedding.weights))
        module.to("meta")  # type: ignore[arg-type]  # transformers' wrapper hides the signature
    # Nothing of the embedding stays behind: of a small model it is the largest part.
    del embedding, first
    release_memory()
    for i, prefix in enumerate(progress.track(prefixes, doing, unit="layer")):
        block = layer_block(model, prefix)
        if tokens is None:
            yield block, BlockInputs()
        else:
            compute_buffers(module, layers[i])
            inputs = LayerInputs(layers[i], block, states, before, Calls(calls[i], states))
            yield block, inputs
            inputs.advance()
            layers[i].to("meta")
            release_memory()
    yield from last_blocks(model, module, [name for name in outside if name not in outer])


def _state(model: Model, outside: list[str], embedding: Mapping[str, Weight]) -> dict[str, Tensor]:
    """Everything outside the layers in float32; the embedding as it is given."""
    return {name: embedding[name].dequantize() if name in embedding else model.tensor(name).float() for name in outside}


class _Recorder(nn.Module):
    """Stands in for a layer: remembers what it is called with and passes the hidden states on, ``pairs`` in a tuple."""

    def __init__(self, calls: list[Any], pairs: bool) -> None:
        super().__init__()
        self.calls = calls
        self.pairs = pairs

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor | tuple[Tensor, None]:
        self.calls.append((hidden, args, kwargs))
        return (hidden, None) if self.pairs else hidden


def _layer_inputs(
    module: PreTrainedModel, stack: Layers, tokens: Tensor, state: Mapping[str, Tensor]
) -> tuple[list[Tensor], Known]:
    """The first layer's inputs, batch by batch, and what the layers are called with besides."""
    materialise(module, state)
    recorded: list[Any] = []
    family = FAMILIES[module.config.model_type]
    uncached = {} if sees(family.kind) else {"use_cache": False}
    states: list[Tensor] = []
    calls: Known = [{} for _ in stack[1]]
    with replaced(module, stack, (_Recorder(recorded, family.pairs) for _ in stack[1])), torch.no_grad():
        for batch in tokens.split(BATCH):
            recorded.clear()
            module.base_model(**called(batch), **uncached)
            states.append(waiting(recorded[0][0]))
            for known, (_, args, kwargs) in zip(calls, recorded, strict=True):
                known.setdefault(len(batch), (args, kwargs))
    return states, calls
