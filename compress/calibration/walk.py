"""The walk: a model's blocks one after another, each with the statistics of its linears' inputs.

Only the block at hand is in memory. Statistics are taken on the already compressed prefix: whatever a pass has done to
the blocks before is in the inputs that the next block sees. An encoder-decoder's second stack of layers follows its
first, and reads what that one computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from compress.calibration.block import Block, BlockRole, folds_of
from compress.calibration.flow import Flow
from compress.calibration.head_inputs import HeadInputs
from compress.calibration.layer_inputs import BlockInputs, LayerInputs
from compress.calibration.load_state import init_buffers
from compress.checkpoint.model import Model
from compress.modeling.modules import stacks, table_names
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
    module = model.meta_module()
    inside = tuple(f"{path}." for path, _ in stacks(module))
    outside = [name for name in model.names if not name.startswith(inside)]
    role: BlockRole = "tied" if model.tied else "embedding"
    embedding = _outer_block(model, module, role, outside)
    embedding.draft = model.tied and tokens is not None
    original_weights = dict(embedding.weights)
    tables = {*original_weights, *table_names(module, module.get_output_embeddings())}

    def outer_tensors() -> dict[str, Tensor]:
        return {name: model.tensor(name).float() for name in outside if name not in tables}

    yield embedding, BlockInputs()
    flows = []
    if tokens is not None:
        flows.append(Flow(module, tokens, outer_tensors() | _dequantized(embedding.weights)))
        if originals:
            flows.append(Flow(module, tokens, outer_tensors() | _dequantized(original_weights)))
    behind = [name for name in outside if embedding.draft or name not in original_weights]
    # Nothing of the embedding stays in memory: of a small model it is the largest part.
    del embedding, original_weights
    release_memory()
    places = [(stack, i) for stack, (_, layers) in enumerate(stacks(module)) for i in range(len(layers))]
    yield from _walk_layers(model, module, progress.track(places, doing, unit="layer"), flows, outer_tensors)
    yield from _last_blocks(model, module, behind, flows, outer_tensors)


def _walk_layers(
    model: Model,
    module: PreTrainedModel,
    places: Iterable[tuple[int, int]],
    flows: Sequence[Flow],
    outer_tensors: Callable[[], Mapping[str, Tensor]],
) -> Iterator[tuple[Block, BlockInputs]]:
    """Yield the layers at ``places``, each a stack's number and a layer's in it.

    ``flows`` hold their inputs: of the compressed model, and of the original behind it. ``outer_tensors`` reads what
    lies outside of the layers, the embedding and the head.
    """
    layer_stacks = stacks(module)
    for stack, i in places:
        path, layers = layer_stacks[stack]
        layer, block = layers[i], _layer_block(model, f"{path}.{i}")
        if not flows:
            yield block, BlockInputs()
            continue
        if i == 0 and stack > 0:
            for flow in flows:
                flow.between_stacks(outer_tensors())
        init_buffers(module, layer)
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


def _last_blocks(
    model: Model,
    module: PreTrainedModel,
    names: Sequence[str],
    flows: Sequence[Flow],
    outer_tensors: Callable[[], Mapping[str, Tensor]],
) -> Iterator[tuple[Block, BlockInputs]]:
    """The blocks behind a model's layers: the head, unless it came as the embedding, and the rest."""
    head = _outer_block(model, module, "tied" if model.tied else "head", names)
    if head.weights:
        yield head, HeadInputs(next(iter(head.weights)), flows, outer_tensors) if flows else BlockInputs()
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
        folds=folds_of(model.config, prefix, frozenset(names)),
    )


def _outer_block(model: Model, module: PreTrainedModel, role: BlockRole, names: Sequence[str]) -> Block:
    """The token embedding, or the head: empty where it is tied to the embedding, or absent."""
    owner = module.get_output_embeddings() if role == "head" else module.get_input_embeddings()
    names_of_table = table_names(module, owner)
    return Block(role, role, {name: model.weight(name) for name in names_of_table if name in names}, {})


def _dequantized(weights: Mapping[str, Weight]) -> dict[str, Tensor]:
    return {name: weight.dequantize() for name, weight in weights.items()}
