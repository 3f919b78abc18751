"""Read a model's blocks: embedding, layers, head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from transformers import PreTrainedModel

from compress.calibration.block import Block, Role, folds_of
from compress.calibration.layer_inputs import BlockInputs
from compress.checkpoint.model import Model
from compress.modeling.modules import table_names


def last_blocks(model: Model, module: PreTrainedModel, names: Sequence[str]) -> Iterator[tuple[Block, BlockInputs]]:
    """What is left of a model behind its layers: the head, if it has one of its own, and the rest."""
    head = outer_block(model, module, "head", names)
    if head.weights:
        yield head, BlockInputs()
    vectors = {name: model.tensor(name) for name in names if name not in head.weights}
    yield Block("rest", "rest", {}, vectors), BlockInputs()


def layer_block(model: Model, prefix: str) -> Block:
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


def outer_block(model: Model, module: PreTrainedModel, role: Role, names: Sequence[str]) -> Block:
    """The token embedding, or the head: empty where it is tied to the embedding, or absent."""
    owner = module.get_output_embeddings() if role == "head" else module.get_input_embeddings()
    found = table_names(module, owner)
    return Block(role, role, {name: model.weight(name) for name in found if name in names}, {})
