"""Predict the size of a variant from the architecture's config alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from compress.calibration.block import BlockRole
from compress.checkpoint.base import ModelOutline
from compress.checkpoint.sentence.listing import is_sentence_encoder, transformer_folder
from compress.modeling.config_architecture import any_architecture
from compress.pipeline.contract import TargetCapability
from compress.pipeline.parse import Pipeline
from compress.pipeline.resolve import resolve
from compress.weights.stored import StoredForm


@dataclass(frozen=True)
class ConfigOnlyModel(ModelOutline):
    """A model without its weights, of any architecture that transformers knows."""

    @classmethod
    def read(cls, path: Path) -> ConfigOnlyModel:
        """Read the ``config.json`` in a directory, a sentence encoder's too; its modules' few weights don't count.

        Raises ModelError where there is none, or transformers can't use it.
        """
        path = transformer_folder(path)
        return cls(any_architecture(path, is_sentence_encoder(path)))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every tensor that checkpoints have, in the module's order; tied ones once."""
        return tuple(name for name in self.architecture.outline.names if not self.architecture.not_saved(name))

    @cached_property
    def itemsize(self) -> int:
        """Bytes of a float number in the checkpoint, as its config has it; float32 where it doesn't say."""
        dtype = self.config.dtype
        return dtype.itemsize if isinstance(dtype, torch.dtype) else torch.float32.itemsize

    @cached_property
    def _matrices(self) -> frozenset[str]:
        return frozenset(self.matrices)

    def role(self, name: str) -> BlockRole:
        """The role of the block that a tensor is in; ``rest`` has no matrices that passes work on."""
        outline = self.architecture.outline
        if name not in self._matrices:
            return "rest"
        if outline.in_layer(name):
            return "layer"
        if name == outline.embedding:
            return "tied" if self.tied else "embedding"
        return "head"


@dataclass(frozen=True)
class Prediction:
    """Prediction of a variant: the form of every matrix, and the bytes of everything else."""

    weights: dict[str, StoredForm]
    vector_nbytes: int
    parameters: int

    @property
    def nbytes(self) -> int:
        """Bytes of everything that is stored, tied matrices once; as `Manifest.nbytes` has them."""
        return self.vector_nbytes + sum(stored.nbytes for stored in self.weights.values())

    @property
    def bits_per_weight(self) -> float:
        """Stored bits over the original's weights."""
        return 8 * self.nbytes / self.parameters


def predict(model: ConfigOnlyModel, pipeline: Pipeline | None, target: TargetCapability) -> Prediction:
    """Predict how a pipeline will store a model's matrices; without one, as they are.

    The pipeline is resolved for the model and the ``target`` unless it is already. Raises UsageError where a pass can't
    work on the model, or only the weights tell.
    """
    parameters = sum(math.prod(model.shape(name)) for name in model.names)
    passes = resolve(model, pipeline, target).weight_passes if pipeline else ()
    itemsize = model.itemsize
    for pass_ in passes:
        model = model.resized(pass_.resize)
        itemsize = pass_.vector_itemsize(itemsize)
    weights: dict[str, StoredForm] = {}
    vector_nbytes = 0
    number_bytes = model.architecture.outline.number_bytes
    for name in model.names:
        role, shape = model.role(name), model.shape(name)
        if role == "rest":
            vector_nbytes += math.prod(shape) * number_bytes.get(name, itemsize)
            continue
        stored = StoredForm.dense((shape[0], shape[1]), model.itemsize)
        for pass_ in passes:
            stored = pass_.predict(name, role, stored)
        weights[name] = stored
    return Prediction(weights, vector_nbytes, parameters)
