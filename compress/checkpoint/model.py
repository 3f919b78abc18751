"""A checkpoint as its user has it, read one tensor at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from compress.checkpoint.load import load_module
from compress.checkpoint.locate import DEMO, locate
from compress.checkpoint.shards import Shards, find_shards
from compress.errors import ModelError
from compress.modeling.architecture import Architecture, ArchitectureMixin, check_config, read_architecture
from compress.modeling.families import FAMILIES
from compress.modeling.kinds import TaskKind
from compress.modeling.quiet import first_line, quiet_transformers
from compress.modeling.seq2seq import lm_head_name
from compress.modeling.tensor_names import stored_names, unused_tensors
from compress.progress import Progress, Silent
from compress.weights.forms import Dense
from compress.weights.stored import StoredForm

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Model(ArchitectureMixin):
    """A float checkpoint of a supported architecture. Nothing but headers is read until a tensor is asked for.

    ``source`` is what the user called it, ``path`` its directory, ``stored`` maps the module's names to the
    checkpoint's, in the module's order.
    """

    source: str
    path: Path
    shards: Shards
    architecture: Architecture
    stored: dict[str, str]

    @classmethod
    def open(cls, source: str, trust_remote_code: bool = False, progress: Progress | None = None) -> Model:
        """Find a model and check it: a directory, ``demo:NAME`` or a hub id.

        Raises ModelError for what can't be read, isn't safe to read or isn't supported. ``trust_remote_code`` admits
        pickled weights (read as tensors only) and checkpoints that bring code, which is not run: the class is always
        transformers' own.
        """
        progress = progress or Silent()
        path = locate(source, trust_remote_code, progress)
        check_config(path, trust_remote_code)
        shards = find_shards(path, trust_remote_code, progress)
        architecture = read_architecture(path, shards.where)
        architecture = _resolve_tied_head(architecture, shards, progress)
        return cls(source, path, shards, architecture, _match(path, architecture, shards, progress))

    @property
    def name(self) -> str:
        """A short name: the demo's, or the last part of the directory or the hub id."""
        if self.source.startswith(DEMO):
            return self.source.removeprefix(DEMO)
        return Path(self.source).expanduser().resolve().name

    @property
    def config(self) -> PretrainedConfig:
        """The architecture's config."""
        return self.architecture.config

    @property
    def class_name(self) -> str:
        """The transformers class, as in the config's ``architectures``."""
        return self.architecture.class_name

    @property
    def recipe(self) -> Sequence[str]:
        """No passes made it."""
        return ()

    @property
    def stored_forms(self) -> Mapping[str, StoredForm]:
        """Nothing is recorded of it."""
        return {}

    @property
    def kind(self) -> TaskKind:
        """Whether it generates (decoder), embeds (encoder), classifies, or translates (encoder-decoder)."""
        return self.architecture.kind

    @property
    def tied(self) -> bool:
        """Whether the head is the embedding, used twice."""
        return self.architecture.tied

    @property
    def names(self) -> tuple[str, ...]:
        """Every tensor, in the module's order; tied ones once."""
        return tuple(self.stored)

    @property
    def parameters(self) -> int:
        """How many weights there are; tied ones count once."""
        return sum(math.prod(self.shards.shapes[name]) for name in self.stored.values())

    @property
    def digest(self) -> str:
        """One sha256 over the weight files; reads them all the first time."""
        return self.shards.digest

    def tensor(self, name: str) -> Tensor:
        """A tensor as it is stored; a ModelError where it isn't finite."""
        if name not in self.stored:
            raise ModelError(f"{self.source} has no tensor {name}")
        return self.shards.read(self.stored[name])

    def weight(self, name: str) -> Dense:
        """A matrix ``[out, in]`` in its stored dtype."""
        return Dense(self.architecture.to_out_in(name, self.tensor(name)))

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        from transformers import AutoTokenizer

        try:
            with quiet_transformers():
                return AutoTokenizer.from_pretrained(self.path, trust_remote_code=False)
        except Exception as error:  # transformers raises whatever its many tokenizers raise
            raise ModelError(f"{self.path} has no tokenizer that can be read ({first_line(error)})") from error

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The checkpoint's tokenizer; a ModelError where it has none."""
        return self._tokenizer

    def meta_module(self) -> PreTrainedModel:
        """The module without weights: every tensor on torch's meta device."""
        module = self.architecture.meta_module()
        module.eval()
        return module

    def torch_module(self, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
        """The module with its weights, for inference: the whole model in memory."""
        return load_module(self, self.architecture, dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of the weight files."""
        return sum(file.stat().st_size for file in self.shards.files)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, from the headers alone."""
        return self._shapes[name]

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return self.architecture.shapes()

    def resized(self, resize: Callable[[PretrainedConfig], None]) -> Model:
        """What a pass that changes the config so will leave: for names and shapes, not to be read from."""
        architecture = self.architecture.resized(resize)
        if architecture.config.to_dict() == self.config.to_dict():
            return self
        names = architecture.shapes()
        stored = {name: source for name, source in self.stored.items() if name in names}
        return replace(self, architecture=architecture, stored=stored)


def _resolve_tied_head(architecture: Architecture, shards: Shards, progress: Progress) -> Architecture:
    """A config may say tied while the checkpoint holds a head of its own: then the checkpoint is right."""
    if not architecture.tied:
        return architecture
    for head, embedding in architecture.meta_module().all_tied_weights_keys.items():
        found = _stored(architecture, [head, embedding], shards)
        if len(found) < 2 or torch.equal(*map(shards.read, found.values())):
            continue
        if architecture.kind.is_seq2seq:
            return _with_own_head(architecture, head)
        architecture.config.tie_word_embeddings = False
        progress.notice("the config says that the head is tied to the embedding, but they differ: read as untied")
    return architecture


def _stored(architecture: Architecture, wanted: Iterable[str], shards: Shards) -> dict[str, str]:
    renamed = FAMILIES[architecture.config.model_type].renamed
    return stored_names(wanted, shards.where, architecture.cls.base_model_prefix, renamed)


def _with_own_head(architecture: Architecture, name: str) -> Architecture:
    """An encoder-decoder whose head isn't its embedding; a ModelError where another table isn't."""
    if name != lm_head_name(architecture.meta_module()):
        raise ModelError(
            f"{name} isn't the embedding that encoder and decoder share; only a head may be one of its own"
        )
    return replace(architecture, untied_head=True)


def _match(path: Path, architecture: Architecture, shards: Shards, progress: Progress) -> dict[str, str]:
    """Every tensor of the module with its name in the checkpoint; a ModelError for one that is missing or misshapen."""
    module = architecture.meta_module()
    state = module.state_dict()
    tied = set(module.all_tied_weights_keys)
    found = _stored(architecture, state, shards)
    for name, tensor in state.items():
        if name in tied or (name not in found and architecture.computed_on_load(name)):
            continue
        if name not in found:
            raise ModelError(f"{path} lacks {name}, which {architecture.class_name} needs")
        if shards.shapes[found[name]] != tuple(tensor.shape):
            shape, needed = list(shards.shapes[found[name]]), list(tensor.shape)
            raise ModelError(f"{path}: {name} is {shape}, but by config.json {needed} is needed")
    extra = unused_tensors(shards.where, found.values())
    if extra:
        progress.notice(f"{len(extra)} tensors that {architecture.class_name} doesn't use were left out: {extra[0]}, …")
    return {name: found[name] for name in state if name not in tied and name in found}
