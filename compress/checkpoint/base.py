"""Base classes of models: `ModelOutline`, known from the config alone, and `Checkpoint`, a directory of weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from torch import Tensor

from compress.checkpoint.sentence.modules import SentenceModules
from compress.errors import UsageError
from compress.modeling.architecture import longest_input
from compress.modeling.kinds import TaskKind
from compress.weights.forms import Weight
from compress.weights.stored import StoredForm

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from compress.modeling.architecture import Architecture


@dataclass(frozen=True)
class ModelOutline(ABC):
    """A model's config, and its tensors' names and shapes, before any weight is read.

    Names are those of the transformers module's ``state_dict``, in its order.
    """

    architecture: Architecture

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Every tensor, in the module's order; tied ones once."""

    @property
    def config(self) -> PretrainedConfig:
        """The config of the architecture, of its text model alone where it has others."""
        return self.architecture.text_config

    @property
    def class_name(self) -> str:
        """The name of the transformers class, as in the config's ``architectures``."""
        return self.architecture.class_name

    @property
    def kind(self) -> TaskKind:
        """The kind of task that the model is for."""
        return self.architecture.kind

    @property
    def tied(self) -> bool:
        """Whether the head is the embedding, used twice (then only the embedding's name appears)."""
        return self.architecture.tied

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every tensor by its name, tied ones too; a linear's is ``[out, in]`` however it is stored."""
        return self.architecture.outline.shapes

    @property
    def matrices(self) -> tuple[str, ...]:
        """The weights that passes work on: the layers' linears, the embedding and the head; tied ones once."""
        return self.architecture.outline.matrices

    @property
    def expert_weights(self) -> frozenset[str]:
        """The linears' weights that only some tokens reach: the experts'."""
        return self.architecture.outline.expert_weights

    @property
    def nonstandard_linear(self) -> str | None:
        """The class of the layers' linears where that isn't torch's own."""
        return self.architecture.outline.nonstandard_linear

    def resized(self, resize: Callable[[PretrainedConfig], None]) -> Self:
        """The model after ``resize`` has changed its config, for names and shapes; itself where nothing changes."""
        architecture = self.architecture.resized(resize)
        return self if architecture is self.architecture else replace(self, architecture=architecture)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape; a linear's is ``[out, in]`` however it is stored."""
        return self.shapes[name]


@dataclass(frozen=True)
class Checkpoint(ModelOutline):
    """A directory of weights, which also holds the tokenizer and ``config.json``.

    ``sentence``: the modules that make a sentence embedding of its outputs, where it is a sentence encoder's.
    """

    path: Path
    sentence: SentenceModules | None = field(default=None, kw_only=True)
    context: int | None = field(default=None, kw_only=True)
    """tokens of the longest text that it is to serve, where that are fewer than it takes in"""

    @property
    def license_folder(self) -> Path:
        """Where its license and model card lie: its directory, or a sentence encoder's around it."""
        return self.path if self.sentence is None else self.sentence.root

    @property
    def longest_served(self) -> int:
        """Number of tokens that it takes in at once, or is to serve."""
        return self.context or longest_input(self.config)

    @property
    def longest_text(self) -> int:
        """Number of tokens of a text that it takes in; a sentence encoder may cut texts off earlier than it must."""
        longest = self.longest_served
        return longest if self.sentence is None else min(longest, self.sentence.max_length or longest)

    def within(self, context: int | None) -> Self:
        """The model for texts of at most ``context`` tokens; a UsageError where it takes in fewer, or is no decoder."""
        if context is None:
            return self
        if not self.kind.is_decoder_only:
            raise UsageError(f"--context is for decoders, and {self.path} is of kind {self.kind.name}; leave it out")
        if context > (longest := longest_input(self.config)):
            raise UsageError(f"--context {context} exceeds the longest input of {self.path}, {longest} tokens")
        return replace(self, context=context)

    @property
    @abstractmethod
    def parameters(self) -> int:
        """Number of weights of the model, or of the original where this is a variant of one; tied ones count once."""

    @property
    def recipe(self) -> Sequence[str]:
        """The passes that made it, each as written on the command line; none for a model as its user has it."""
        return ()

    @property
    def stored_forms(self) -> Mapping[str, StoredForm]:
        """Stored form of each matrix by name, as a manifest records it; none for a model as its user has it."""
        return {}

    @property
    def brings_code(self) -> bool:
        """Whether code of its own, which isn't run here, may go along with it."""
        return True

    @abstractmethod
    def tensor(self, name: str) -> Tensor:
        """A tensor that is no matrix (a norm, a bias), in its stored dtype."""

    @abstractmethod
    def weight(self, name: str) -> Weight:
        """A matrix (a linear, an embedding) in the form it is stored in, ``[out, in]``."""

    @abstractmethod
    def torch_module(self) -> PreTrainedModel:
        """The transformers module in evaluation mode, its weights dequantized to float32."""
