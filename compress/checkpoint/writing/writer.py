"""Write a variant's directory: its checkpoint in the format and file size chosen, config, manifest and model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from compress.checkpoint.base import Checkpoint
from compress.checkpoint.files.hashes import own_files
from compress.checkpoint.files.manifest import Manifest
from compress.checkpoint.files.shard_writer import ShardWriter
from compress.checkpoint.variant import Variant
from compress.checkpoint.writing.layout import UNREADABLE, Layout
from compress.checkpoint.writing.license import find_license
from compress.checkpoint.writing.model_card import write_card
from compress.checkpoint.writing.own_code import copy_companions
from compress.formats.base import CheckpointFormat
from compress.formats.compressed_tensors import CompressedTensorsFormat
from compress.modeling.architecture import Architecture
from compress.progress import Progress
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

    The manifest and every ONNX target keep a tied matrix tied, also where it is stored twice (`Layout`). ``model`` is
    what the variant is made from, ``architecture`` the variant's architecture.
    """

    def __init__(self, model: Checkpoint, architecture: Architecture, directory: Path, options: WriteOptions) -> None:
        self.model = model
        self.options = options
        self.directory = directory
        self.forms: dict[str, StoredForm] = {}
        self._layout = Layout(architecture, options.format)
        self._shards = ShardWriter(directory, options.shard_bytes, model.tensor)
        self._outlines: dict[str, Tensor] = {}
        self._vector_bytes = 0
        self._parameters = 0
        self._rounding_error = 0.0

    def add(self, weights: Mapping[str, Weight], vectors: Mapping[str, Tensor], unchanged: Mapping[str, str]) -> None:
        """Store a block's matrices and vectors, by their names in the variant.

        What is ``unchanged`` goes by that name in the model and is read again when it is written.
        """
        for name, original in weights.items():
            weight = self._as_stored(original)
            self.forms[name] = StoredForm.of(weight)
            self._parameters += weight.shape[0] * weight.shape[1]
            for key, tensor in self._layout.tensors(name, weight).items():
                self._put(key, tensor, unchanged.get(name) if isinstance(weight, Dense) else None)
        for name, tensor in vectors.items():
            self._put(name, tensor.contiguous())
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
        problem = self._layout.problem(self.forms, self._outlines)
        if problem is not None and not any(form.parts for form in self.forms.values()):
            progress.notice(f"transformers can't load {problem}; README.md says what loads this variant")
        self._write_config(readable=problem is None or problem.says_so)
        if notice := copy_companions(self.model, self.directory):
            progress.notice(notice)
        if self.model.sentence is not None:
            self.model.sentence.save(self.directory)
        manifest.format = self.options.format.name
        manifest.weights = self.forms
        manifest.unreadable = None if problem is None else str(problem)
        manifest.vector_nbytes = self._vector_bytes
        manifest.parameters = self._parameters
        manifest.files = own_files(self.directory, sums)
        manifest.save(self.directory)
        write_card(self.directory, manifest, find_license(self.model.license_folder), self.model.sentence)
        return Variant.open(self.directory, verify=False)

    def _put(self, name: str, tensor: Tensor, source: str | None = None) -> None:
        self._outlines[name] = tensor.to("meta") if tensor.is_floating_point() or tensor.ndim > 1 else tensor
        self._shards.put(name, tensor, source)

    def _as_stored(self, weight: Weight) -> Weight:
        """A matrix as it will be stored."""
        unmerged = merged(weight) if self.options.merge else weight
        stored = self.options.format.as_stored(unmerged)
        if isinstance(stored, Quantized) and isinstance(unmerged, Quantized) and stored is not unmerged:
            self._rounding_error = max(self._rounding_error, scale_rounding_error(unmerged, stored))
        return stored

    def _write_config(self, readable: bool) -> None:
        """Write ``config.json``, by which transformers refuses a checkpoint that it would read as something else."""
        config = self._layout.config(self.forms)
        config["dtype"] = str(self._shards.dtypes.most_common(1)[0][0]).removeprefix("torch.")
        quantization = config.get("quantization_config")
        if (
            quantization is not None
            and self.model.sentence is not None
            and self.options.format.loads_whole(quantization)
        ):
            quantization["dequantize"] = True
        extra_files = {} if quantization is None else self.options.format.extra_files(quantization)
        if not readable:
            config["quantization_config"] = UNREADABLE
        for name, facts in {"config.json": config, **extra_files}.items():
            (self.directory / name).write_text(json.dumps(facts, indent=2, default=str) + "\n")
