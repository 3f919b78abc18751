"""How large a variant will be, from the architecture's config alone: no weight is read, nothing is solved."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from compress.calibration.block import Role
from compress.modeling.architecture import Architecture, ArchitectureMixin, any_architecture
from compress.modeling.kinds import TaskKind
from compress.modeling.modules import stacks, table_names
from compress.pipeline.contract import TargetCapability
from compress.pipeline.parse import Pipeline
from compress.pipeline.resolve import resolve
from compress.weights.stored import StoredForm

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class ConfigOnlyModel(ArchitectureMixin):
    """A model without its weights: a `ModelOutline` of any architecture that transformers knows."""

    architecture: Architecture

    @classmethod
    def read(cls, path: Path) -> ConfigOnlyModel:
        """From the ``config.json`` in a directory; a ModelError where there is none, or transformers can't use it."""
        return cls(any_architecture(path))

    @property
    def config(self) -> PretrainedConfig:
        """The architecture."""
        return self.architecture.config

    @property
    def kind(self) -> TaskKind:
        """Whether it generates (decoder), embeds (encoder), classifies, or translates (encoder-decoder)."""
        return self.architecture.kind

    @cached_property
    def module(self) -> PreTrainedModel:
        """The module, every tensor on torch's meta device."""
        return self.architecture.meta_module()

    @property
    def tied(self) -> bool:
        """Whether the head is the embedding, used twice."""
        return self.architecture.tied

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name, tied ones once, on the meta device."""
        tied = set(self.module.all_tied_weights_keys)
        left = ((name, tensor) for name, tensor in self.module.state_dict().items() if name not in tied)
        return {name: tensor for name, tensor in left if not self.architecture.not_saved(name)}

    @property
    def names(self) -> tuple[str, ...]:
        """Every tensor, in the module's order."""
        return tuple(self.tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape; a linear's is ``[out, in]``."""
        return tuple(self.architecture.to_out_in(name, self.tensors[name]).shape)

    def resized(self, resize: Callable[[PretrainedConfig], None]) -> ConfigOnlyModel:
        """The model that a pass leaves which changes the config so."""
        architecture = self.architecture.resized(resize)
        same = architecture.config.to_dict() == self.config.to_dict()
        return self if same else ConfigOnlyModel(architecture)

    @property
    def itemsize(self) -> int:
        """Bytes of a float number in the checkpoint, as its config has it; float32 where it doesn't say."""
        dtype = self.config.dtype
        return dtype.itemsize if isinstance(dtype, torch.dtype) else torch.float32.itemsize

    @cached_property
    def _layers(self) -> tuple[str, ...]:
        return tuple(f"{path}." for path, _ in stacks(self.module))

    def role(self, name: str) -> Role:
        """The kind of block that a tensor is in; ``rest`` has no matrices that passes work on."""
        if name not in self.matrices:
            return "rest"
        if name.startswith(self._layers):
            return "layer"
        if name in table_names(self.module, self.module.get_input_embeddings()):
            return "tied" if self.tied else "embedding"
        return "head"


@dataclass(frozen=True)
class Prediction:
    """How every matrix will be stored, and the bytes of what is no matrix."""

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
    """Predict what a pipeline will make of a model; without one, the model as it is.

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
    for name, tensor in model.tensors.items():
        role, shape = model.role(name), model.shape(name)
        if role == "rest":
            vector_nbytes += math.prod(shape) * (itemsize if tensor.is_floating_point() else tensor.element_size())
            continue
        stored = StoredForm.dense((shape[0], shape[1]), model.itemsize)
        for pass_ in passes:
            stored = pass_.predict(name, role, stored)
        weights[name] = stored
    return Prediction(weights, vector_nbytes, parameters)
