"""What a model and a variant have in common: named tensors that an exporter or a scorer reads one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from compress.modeling.kinds import TaskKind
from compress.weights.forms import Weight
from compress.weights.stored import StoredForm

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from compress.modeling.architecture import Architecture


class ModelInfo(Protocol):
    """What a model is called by: its architecture, and the names of its tensors."""

    @property
    def config(self) -> PretrainedConfig:
        """The architecture."""

    @property
    def kind(self) -> TaskKind:
        """Whether it generates (decoder), embeds (encoder), classifies, or translates (encoder-decoder)."""

    @property
    def tied(self) -> bool:
        """Whether the head is the embedding, used twice (then only the embedding's name appears)."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every tensor, in the module's order."""


class ModelOutline(ModelInfo, Protocol):
    """What is known of a model before any weight is read."""

    @property
    def matrices(self) -> tuple[str, ...]:
        """The weights that passes work on: the layers' linears, the embedding and the head; tied ones once."""

    @property
    def expert_weights(self) -> frozenset[str]:
        """The linears' weights that only some tokens reach: the experts'."""

    @property
    def nonstandard_linear(self) -> str | None:
        """The class of the layers' linears where that isn't torch's own."""

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape; a linear's is ``[out, in]`` however it is stored."""


class Checkpoint(ModelInfo, Protocol):
    """A directory of weights. Names are those of the transformers module's ``state_dict``; tied weights appear once."""

    @property
    def path(self) -> Path:
        """The directory, which also holds the tokenizer and ``config.json``."""

    @property
    def architecture(self) -> Architecture:
        """The class that the config makes."""

    @property
    def parameters(self) -> int:
        """How many weights the model has that this is, or was made from; tied ones count once."""

    @property
    def recipe(self) -> Sequence[str]:
        """The passes that made it, each as written on the command line; none for a model as its user has it."""

    @property
    def stored_forms(self) -> Mapping[str, StoredForm]:
        """How each matrix is stored, by name, as a manifest records it; none for a model as its user has it."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor by its name; a linear's is ``[out, in]``."""

    def tensor(self, name: str) -> Tensor:
        """A tensor that is no matrix (a norm, a bias), in its stored dtype."""

    def weight(self, name: str) -> Weight:
        """A matrix (a linear, an embedding) in the form it is stored in."""

    def torch_module(self) -> PreTrainedModel:
        """The transformers module in evaluation mode, its weights dequantized to float32."""
