"""A variant: a directory that transformers loads, with the manifest that says what was done."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from compress.checkpoint.base import Checkpoint
from compress.checkpoint.license import FILES, find_license
from compress.checkpoint.load import load_module
from compress.checkpoint.manifest import FILE, Manifest
from compress.checkpoint.model_card import write_card
from compress.checkpoint.shard_writer import ShardWriter
from compress.checkpoint.shards import Shards, find_shards
from compress.checkpoint.storage import WriteOptions
from compress.formats.base import CheckpointFormat, find_format
from compress.modeling.architecture import Architecture, read_architecture
from compress.progress import Progress, Silent
from compress.weights.forms import Dense, Quantized, Weight, merged
from compress.weights.half_scales import scale_rounding_error
from compress.weights.stored import StoredForm

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_COPIED = ("*.json", "*.txt", "*.model", "*.spm", "*.jinja", *FILES)
_NOT_COPIED = {"config.json", FILE, "artifact.json", "genai_config.json", "quantize_config.json"}


class VariantWriter:
    """Takes a variant's matrices one after another, stores them in their format, and writes what goes with them.

    Loaders can't tie compressed weights, so a tied matrix that is quantized is stored under both of its names and the
    config says untied; the manifest and every ONNX target keep it tied. ``model`` is what the variant is made from,
    ``architecture`` the variant's architecture.
    """

    def __init__(self, model: Checkpoint, architecture: Architecture, directory: Path, storage: WriteOptions) -> None:
        self.model = model
        self.storage = storage
        self.architecture = architecture
        self.config = architecture.config
        self.directory = directory
        self.forms: dict[str, StoredForm] = {}
        # Those of the class as its loader makes it: a pooler that the checkpoint lacks must not count as quantized.
        self._linears = replace(architecture, options={}).outline.linears
        # An encoder-decoder's table has more than two names, and some of these classes tie whatever the config says.
        twice = model.tied and architecture.kind.is_decoder_only
        self._heads = {source: head for head, source in architecture.outline.tied.items()} if twice else {}
        self._shards = ShardWriter(directory, storage.shard_bytes, model.tensor)
        self._vector_bytes = 0
        self._parameters = 0
        self._moved = 0.0

    def add(self, weights: Mapping[str, Weight], vectors: Mapping[str, Tensor], unchanged: Mapping[str, str]) -> None:
        """Take in a block's matrices and vectors by the names that they get.

        What is ``unchanged`` goes by that name in the model and is read again when it is written.
        """
        linears = frozenset(self._linears)
        for name, original in weights.items():
            weight = self._as_stored(original)
            self.forms[name] = StoredForm.of(weight)
            self._parameters += weight.shape[0] * weight.shape[1]
            if isinstance(weight, Dense):
                stored = self.architecture.to_stored_layout(name, weight.tensor).contiguous()
                self._shards.put(name, stored, unchanged.get(name))
                continue
            for written in self._written_names(name):
                encoded = self.storage.format.encode(
                    written, weight, written in linears, name in self.architecture.outline.expert_weights
                )
                for key, tensor in encoded.items():
                    self._shards.put(key, tensor)
        for name, tensor in vectors.items():
            self._shards.put(name, tensor.contiguous())
        self._vector_bytes += sum(tensor.numel() * tensor.element_size() for tensor in vectors.values())
        self._parameters += sum(tensor.numel() for tensor in vectors.values())

    def finish(self, manifest: Manifest, progress: Progress) -> Variant:
        """Write what is left, the config, the tokenizer's files and the manifest."""
        if self._moved:
            progress.notice(
                f"format {self.storage.format.name} rounds scales, here by up to {100 * self._moved:.2g} % of a "
                "matrix's: the variant's numbers are the rounded ones"
            )
        self._shards.finish()
        self._write_config()
        for pattern in _COPIED:
            for file in self.model.path.glob(pattern):
                if file.name not in _NOT_COPIED and not file.name.endswith(".index.json"):
                    shutil.copy(file, self.directory / file.name)
        manifest.format = self.storage.format.name
        manifest.weights = self.forms
        manifest.vector_nbytes = self._vector_bytes
        manifest.parameters = self._parameters
        manifest.save(self.directory)
        write_card(self.directory, manifest, find_license(self.model.path))
        return Variant.open(self.directory, verify=False)

    def _as_stored(self, weight: Weight) -> Weight:
        """A matrix as it will be stored."""
        unmerged = merged(weight) if self.storage.merge else weight
        stored = self.storage.format.as_stored(unmerged)
        if isinstance(stored, Quantized) and isinstance(unmerged, Quantized) and stored is not unmerged:
            self._moved = max(self._moved, scale_rounding_error(unmerged, stored))
        return stored

    def _written_names(self, name: str) -> list[str]:
        twice = name in self._heads and self.forms[name].form == "quantized"
        return [name, self._heads[name]] if twice else [name]

    def _write_config(self) -> None:
        written = {key: form for name, form in self.forms.items() for key in self._written_names(name)}
        config: dict[str, object] = self.config.to_diff_dict()
        config.pop("_name_or_path", None)  # a path of the machine that this ran on
        config["dtype"] = str(self._shards.dtypes.most_common(1)[0][0]).removeprefix("torch.")
        if written.keys() & set(self._heads.values()):
            config["tie_word_embeddings"] = False
        quantization = self.storage.format.config(written, self._linears, self.architecture.outline.expert_weights)
        if quantization is not None:
            config["quantization_config"] = quantization
        extra_files = {} if quantization is None else self.storage.format.extra_files(quantization)
        for name, facts in {"config.json": config, **extra_files}.items():
            (self.directory / name).write_text(json.dumps(facts, indent=2, default=str) + "\n")


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
        architecture = read_architecture(path, shards.where)
        # What the integers stand for is a float model, with its head tied as it was.
        if architecture.kind.is_seq2seq:
            architecture = replace(architecture, untied_head=not manifest.source.tied)
        else:
            architecture.config.tie_word_embeddings = manifest.source.tied
        if hasattr(architecture.config, "quantization_config"):
            del architecture.config.quantization_config
        return cls(architecture, path, manifest, shards)

    @cached_property
    def format(self) -> CheckpointFormat:
        """How its checkpoint holds its matrices."""
        return find_format(self.manifest.format)

    @property
    def recipe(self) -> Sequence[str]:
        """The passes that made it, as in its manifest."""
        return self.manifest.recipe

    @property
    def stored_forms(self) -> Mapping[str, StoredForm]:
        """How each matrix is stored, as in its manifest."""
        return self.manifest.weights

    @property
    def parameters(self) -> int:
        """How many weights the source has; tied ones count once."""
        return self.manifest.source.parameters

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every tensor, in the module's order; tied ones once."""
        stored, architecture = self.shards.where, self.architecture
        names = architecture.outline.names
        return tuple(name for name in names if name in stored or not architecture.computed_on_load(name))

    def tensor(self, name: str) -> Tensor:
        """A tensor that is stored as it is."""
        return self.shards.read(name)

    def weight(self, name: str) -> Weight:
        """A matrix in the form that the passes left it in."""
        stored = self.manifest.weights.get(name)
        if stored is None:
            return Dense(self.architecture.to_out_in(name, self.shards.raw(name)))
        return self.format.decode(name, stored, _Reader(self))

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
