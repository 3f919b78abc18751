"""Write a variant's directory: its checkpoint in the format and file size chosen, config, manifest and model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from compress.checkpoint.base import Checkpoint
from compress.checkpoint.folder import companions
from compress.checkpoint.hashes import own_files
from compress.checkpoint.license import find_license
from compress.checkpoint.manifest import Manifest
from compress.checkpoint.model_card import write_card
from compress.checkpoint.shard_writer import ShardWriter
from compress.checkpoint.variant import Variant
from compress.formats.base import CheckpointFormat
from compress.formats.compressed_tensors import CompressedTensorsFormat
from compress.modeling.architecture import Architecture
from compress.progress import Progress
from compress.system.regular_files import copy_file
from compress.weights.forms import Dense, Quantized, Weight, merged
from compress.weights.half_scales import scale_rounding_error
from compress.weights.stored import StoredForm

SHARD_BYTES = 4 << 30
"""The default size of one checkpoint file."""


@dataclass(frozen=True)
class WriteOptions:
    """Options for writing a checkpoint.

    ``shard_bytes`` is the maximum size of one file, but for a tensor that is larger by itself; with ``merge``, products
    are multiplied out, each stored as one dense matrix.
    """

    format: CheckpointFormat = field(default_factory=CompressedTensorsFormat)
    shard_bytes: int = SHARD_BYTES
    merge: bool = False


class VariantWriter:
    """Write a variant: store its matrices one after another in their format, then the files that go with them.

    Loaders can't tie compressed weights, so a tied matrix that is quantized is stored under both of its names and the
    config says untied; the manifest and every ONNX target keep it tied. ``model`` is what the variant is made from,
    ``architecture`` the variant's architecture.
    """

    def __init__(self, model: Checkpoint, architecture: Architecture, directory: Path, options: WriteOptions) -> None:
        self.model = model
        self.options = options
        self.architecture = architecture
        self.config = architecture.config
        self.directory = directory
        self.forms: dict[str, StoredForm] = {}
        # Those of the class as its loader makes it: a pooler that the checkpoint lacks must not count as quantized.
        self._linears = replace(architecture, options={}).outline.linears
        # An encoder-decoder's table has more than two names, and some of these classes tie whatever the config says.
        twice = model.tied and architecture.kind.is_decoder_only
        self._heads = {source: head for head, source in architecture.outline.tied.items()} if twice else {}
        self._shards = ShardWriter(directory, options.shard_bytes, model.tensor)
        self._vector_bytes = 0
        self._parameters = 0
        self._rounding_error = 0.0

    def add(self, weights: Mapping[str, Weight], vectors: Mapping[str, Tensor], unchanged: Mapping[str, str]) -> None:
        """Store a block's matrices and vectors, by their names in the variant.

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
                encoded = self.options.format.encode(
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
        if self._rounding_error:
            progress.notice(
                f"format {self.options.format.name} rounds scales, here by up to {100 * self._rounding_error:.2g} % "
                "of a matrix's: the variant's numbers are the rounded ones"
            )
        sums = self._shards.finish()
        self._write_config()
        for file in companions(self.model.path):
            copy_file(file, self.directory / file.name)
        manifest.format = self.options.format.name
        manifest.weights = self.forms
        manifest.vector_nbytes = self._vector_bytes
        manifest.parameters = self._parameters
        manifest.files = own_files(self.directory, sums)
        manifest.save(self.directory)
        write_card(self.directory, manifest, find_license(self.model.path))
        return Variant.open(self.directory, verify=False)

    def _as_stored(self, weight: Weight) -> Weight:
        """A matrix as it will be stored."""
        unmerged = merged(weight) if self.options.merge else weight
        stored = self.options.format.as_stored(unmerged)
        if isinstance(stored, Quantized) and isinstance(unmerged, Quantized) and stored is not unmerged:
            self._rounding_error = max(self._rounding_error, scale_rounding_error(unmerged, stored))
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
        quantization = self.options.format.config(written, self._linears, self.architecture.outline.expert_weights)
        if quantization is not None:
            config["quantization_config"] = quantization
        extra_files = {} if quantization is None else self.options.format.extra_files(quantization)
        for name, facts in {"config.json": config, **extra_files}.items():
            (self.directory / name).write_text(json.dumps(facts, indent=2, default=str) + "\n")
