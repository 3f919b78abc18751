"""The walk: a model's blocks one after another, each with the statistics of its linears' inputs.

Only the block at hand is in memory. Statistics are taken on the already compressed prefix: whatever a pass has done to
the blocks before is in the inputs that the next block sees. An encoder-decoder's second stack of layers follows its
first, and reads what that one computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from torch import Tensor

from compress.calibration.block import Block, BlockRole
from compress.calibration.flow import Flow
from compress.calibration.head_inputs import HeadInputs
from compress.calibration.layer_inputs import BlockInputs, LayerInputs
from compress.calibration.load_state import init_buffers
from compress.checkpoint.model import Model
from compress.modeling.modules import stacks, table_names
from compress.modeling.spaces.folds import folds_of
from compress.progress import Progress
from compress.system.memory import release_memory
from compress.weights.forms import Weight

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def walk_blocks(
    model: Model, tokens: Tensor | None, progress: Progress, originals: bool = False, doing: str = "compressing"
) -> Iterator[tuple[Block, BlockInputs]]:
    """Yield the embedding, every layer and the head; what the caller leaves in a block feeds the next one.

    With each come its inputs, from which statistics are taken on demand. ``tokens`` int64 ``[windows, length]`` are the
    calibration text, or images as `model_inputs` takes them; without them no forward pass is ever run. With
    ``originals`` the uncompressed model's hidden states ride along, for statistics that compare the two.

    A head that is tied to the embedding has inputs only once all layers are through, and the layers read what the
    embedding makes of the text: such a block comes twice, at first as a ``draft``, which is used and dropped.
    """
    yield from Walk(model, tokens, progress, originals, doing)


class Walk:
    """A walk under way, as `walk_blocks` describes it, with what goes through the layers at hand.

    ``flows`` are that, once the first layer is reached: the compressed model's hidden states, and the original's.
    ``forks`` are copies of them that the caller advances; what ends an encoder ends theirs too.
    """

    def __init__(self, model: Model, tokens: Tensor | None, progress: Progress, originals: bool, doing: str) -> None:
        self.module = model.meta_module()
        self.flows: list[Flow] = []
        self.forks: list[Flow] = []
        self._model, self._tokens, self._originals = model, tokens, originals
        self._progress, self._doing = progress, doing
        inside = tuple(f"{path}." for path, _ in stacks(self.module))
        self._outside = [name for name in model.names if not name.startswith(inside)]

    def __iter__(self) -> Iterator[tuple[Block, BlockInputs]]:
        """The blocks, each with its inputs."""
        model, module = self._model, self.module
        embedding = _outer_block(model, module, "tied" if model.tied else "embedding", self._outside)
        embedding.draft = model.tied and self._tokens is not None
        original_weights = dict(embedding.weights)
        yield embedding, BlockInputs()
        if self._tokens is not None:
            tensors = self._outer_tensors()
            outputs = model.architecture.dry_run.outputs
            self.flows.append(Flow(module, self._tokens, tensors | _dequantized(embedding.weights), outputs))
            if self._originals:
                self.flows.append(Flow(module, self._tokens, tensors | _dequantized(original_weights), outputs))
            del tensors
        behind = [name for name in self._outside if embedding.draft or name not in original_weights]
        # Nothing of the embedding stays in memory: of a small model it is the largest part.
        del embedding, original_weights
        release_memory()
        yield from self._layers()
        yield from self._last_blocks(behind)

    def fork(self) -> Flow:
        """A copy of the compressed model's flow as it reaches the next layer, among ``forks``."""
        self.forks.append(self.flows[0].fork())
        return self.forks[-1]

    def materialized(self) -> AbstractContextManager[None]:
        """Within, the module has what lies outside of the layers, as the model has it, embedding and head included."""
        return self.flows[0].materialized({name: self._model.tensor(name).float() for name in self._outside})

    def _outer_tensors(self) -> dict[str, Tensor]:
        """What lies outside of the layers, the embedding and the head."""
        tables = table_names(self.module, self.module.get_input_embeddings(), self.module.get_output_embeddings())
        return {name: self._model.tensor(name).float() for name in self._outside if name not in tables}

    def _layers(self) -> Iterator[tuple[Block, BlockInputs]]:
        """Yield the layers, those of an encoder before a decoder's."""
        layer_stacks, flows = stacks(self.module), self.flows
        places = [(stack, i) for stack, (_, layers) in enumerate(layer_stacks) for i in range(len(layers))]
        for stack, i in self._progress.track(places, self._doing, unit="layer"):
            path, layers = layer_stacks[stack]
            layer, block = layers[i], _layer_block(self._model, f"{path}.{i}")
            if not flows:
                yield block, BlockInputs()
                continue
            if i == 0 and stack > 0:
                for flow in (*flows, *self.forks):
                    flow.between_stacks(self._outer_tensors())
            init_buffers(self.module, layer)
            if i == 0:
                for original in flows[1:]:
                    original.after_first_layer(stack, layer, block)  # while the block is as the model has it
            inputs = LayerInputs(layer, block, *(flow.arguments(stack, i) for flow in flows))
            yield block, inputs
            inputs.advance()
            if i == 0:
                flows[0].after_first_layer(stack, layer, block)
            layer.to("meta")
            release_memory()

    def _last_blocks(self, names: Sequence[str]) -> Iterator[tuple[Block, BlockInputs]]:
        """The blocks behind the layers: the head, unless it came as the embedding, and the rest."""
        model, flows = self._model, self.flows
        head = _outer_block(model, self.module, "tied" if model.tied else "head", names)
        if head.weights:
            yield head, HeadInputs(next(iter(head.weights)), flows, self._outer_tensors) if flows else BlockInputs()
        vectors = {name: model.tensor(name) for name in names if name not in head.weights}
        yield Block("rest", "rest", {}, vectors), BlockInputs()


def _layer_block(model: Model, prefix: str) -> Block:
    """The repeated layer of that name, its tensors read."""
    names = [name for name in model.names if name.startswith(f"{prefix}.")]
    matrices = set(model.matrices)
    return Block(
        name=prefix,
        role="layer",
        weights={name: model.weight(name) for name in names if name in matrices},
        vectors={name: model.tensor(name) for name in names if name not in matrices},
        folds=folds_of(model.architecture, prefix),
    )


def _outer_block(model: Model, module: PreTrainedModel, role: BlockRole, names: Sequence[str]) -> Block:
    """The token embedding, or the head: empty where it is tied to the embedding, or absent."""
    owner = module.get_output_embeddings() if role == "head" else module.get_input_embeddings()
    names_of_table = table_names(module, owner)
    return Block(role, role, {name: model.weight(name) for name in names_of_table if name in names}, {})


def _dequantized(weights: Mapping[str, Weight]) -> dict[str, Tensor]:
    return {name: weight.dequantize() for name, weight in weights.items()}
