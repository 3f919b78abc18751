"""Read a variant: a directory that transformers loads, with the manifest that says what was done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from compress.checkpoint.base import Checkpoint
from compress.checkpoint.files.manifest import FILE, Manifest
from compress.checkpoint.files.shards import Shards, find_shards
from compress.checkpoint.load import load_module
from compress.checkpoint.sentence.listing import is_sentence_encoder
from compress.checkpoint.sentence.modules import read_sentence_modules
from compress.errors import ModelError
from compress.formats.base import CheckpointFormat, find_format
from compress.modeling.architecture_checks import check_buildable
from compress.modeling.config_architecture import read_architecture
from compress.progress import Silent
from compress.weights.forms import Dense, Weight
from compress.weights.stored import StoredForm

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Variant(Checkpoint):
    """A variant as read back from its directory; the integers are those that the passes made."""

    manifest: Manifest
    shards: Shards

    @classmethod
    def open(cls, path: str | Path, verify: bool = True) -> Variant:
        """Read a variant's headers; a ModelError for a directory that is none, or is damaged.

        ``verify`` compares its weight files with their recorded hashes: needless for what this process wrote.
        """
        path = Path(path)
        manifest = Manifest.read(path)
        shards = find_shards(path, trust_pickle=False, progress=Silent(), verify=verify)
        architecture = read_architecture(path, shards.where, is_sentence_encoder(path))
        # What the integers stand for is a float model, with its head tied as it was, unless a pass made one of its own.
        if architecture.kind.is_seq2seq:
            architecture = replace(architecture, untied_head=not manifest.source.tied)
        else:
            architecture = architecture.with_tied_head(manifest.source.tied)
            if architecture.tied and architecture.outline.head in manifest.weights:
                architecture = architecture.with_tied_head(False)
        if hasattr(architecture.config, "quantization_config"):
            del architecture.config.quantization_config
        check_buildable(path, architecture)
        sentence = read_sentence_modules(path, architecture.kind, architecture.config)
        return cls(architecture, path, manifest, shards, sentence=sentence)

    @cached_property
    def format(self) -> CheckpointFormat:
        """The format of its checkpoint."""
        return find_format(self.manifest.format)

    @property
    def recipe(self) -> Sequence[str]:
        """The passes that made it, as in its manifest."""
        return self.manifest.recipe

    @property
    def stored_forms(self) -> Mapping[str, StoredForm]:
        """Stored form of each matrix, as in the manifest."""
        return self.manifest.weights

    @property
    def parameters(self) -> int:
        """Number of weights of the source; tied ones count once."""
        return self.manifest.source.parameters

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every tensor, in the module's order; tied ones once."""
        stored, architecture = self.shards.where, self.architecture
        names = architecture.outline.names
        return tuple(name for name in names if name in stored or not architecture.computed_on_load(name))

    def tensor(self, name: str) -> Tensor:
        """A tensor that is no matrix, in its stored dtype."""
        return self.shards.read(name)

    def weight(self, name: str) -> Weight:
        """A matrix in its stored form."""
        stored = self.manifest.weights.get(name)
        if stored is None:
            return Dense(self.architecture.to_out_in(name, self.shards.raw(name)))
        try:
            return self.format.decode(name, stored, _Reader(self))
        except ModelError:
            raise
        except Exception as error:  # whatever a form leads to that isn't the tensors'
            raise ModelError(f"{self.path / FILE}: {name} isn't stored as it says; make the variant again") from error

    def torch_module(self) -> PreTrainedModel:
        """The module with its dequantized weights in float32, for inference: the whole model in memory."""
        return load_module(self, self.architecture)


class _Reader(Mapping[str, Tensor]):
    """A variant's tensors by name, read when asked for; float matrices ``[out, in]``, as integers always are."""

    def __init__(self, variant: Variant) -> None:
        self.shards = variant.shards
        self.architecture = variant.architecture

    def __getitem__(self, name: str) -> Tensor:
        tensor = self.shards.raw(name)
        return self.architecture.to_out_in(name, tensor) if tensor.is_floating_point() else tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.shards.where)

    def __len__(self) -> int:
        return len(self.shards.where)
