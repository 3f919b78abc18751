"""Manifest of a variant, ``compress.json``: its source, its recipe, and how each weight is stored."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from compress.encodable_text import EncodableText
from compress.errors import ModelError
from compress.modeling.kinds import TaskKind
from compress.modeling.no_checkpoint import advise, folders_below
from compress.system.file_set import write_files
from compress.system.regular_files import read_bytes
from compress.weights.stored import DEFAULT_FORMAT, Count, CountOrZero, StoredForm, WeightReport

FILE = "compress.json"


class Source(BaseModel):
    """The checkpoint that a variant was made from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: EncodableText
    """as the user named it"""
    sha256: str
    """over its weight files"""
    config_sha256: str = ""
    """over its ``config.json``, however that is laid out; empty in manifests of before it was recorded"""
    files: dict[str, str] = Field(default_factory=dict)
    """the sha256 of each file that makes its inputs of texts or images, or a sentence embedding of its outputs; none in
    manifests of before they were recorded"""
    architecture: str
    kind: TaskKind
    parameters: Count
    """tied ones once"""
    nbytes: Count
    """bytes of its weights"""
    tied: bool
    dequantized: str | None = None
    """the method of the integers that its floats were read from; None where it was made of floats"""

    @property
    def title(self) -> str:
        """A short name without this machine's paths."""
        path = os.path.expanduser(self.name)
        return Path(path).resolve().name if os.path.isdir(path) else self.name.removeprefix("demo:")


class LayerReport(BaseModel):
    """Report of the passes on one block: time, and errors by matrix."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float = Field(ge=0, allow_inf_nan=False)
    """spent on it, its statistics included"""
    weights: dict[str, WeightReport] = Field(default_factory=dict)
    """by matrix, those that a pass changed"""


class Manifest(BaseModel):
    """Provenance of a variant: all that is needed to tell what it is, and to make it again."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    source: Source
    format: str = DEFAULT_FORMAT
    """name of the format that its checkpoint is stored in"""
    unreadable: str | None = None
    """what transformers can't load of it; None where it loads"""
    pipeline: EncodableText
    """as its user wrote it"""
    recipe: list[EncodableText]
    """the passes with every option decided"""
    seed: int
    calibration: EncodableText
    """which text the statistics are from, and how much of it; "none" where no pass asked"""
    calibration_sketch: str = ""
    """hashes of that text, so that an evaluation on the same is noticed (`Sketch`)"""
    versions: dict[str, str]
    machine: dict[str, str]
    weights: dict[str, StoredForm] = Field(default_factory=dict)
    vector_nbytes: CountOrZero = 0
    """bytes of what is no matrix: norms, biases, position tables"""
    files: dict[str, str] = Field(default_factory=dict)
    """the sha256 of each file by its path inside the variant; none in manifests of before they were recorded"""
    parameters: CountOrZero = 0
    """how many weights the passes left, tied ones once"""
    layers: dict[str, LayerReport] = Field(default_factory=dict)
    """by block: ``model.layers.0``, ``embedding``, ``head``, or ``tied`` where one matrix is both"""

    @property
    def nbytes(self) -> int:
        """Bytes of everything that is stored, tied matrices once."""
        return self.vector_nbytes + sum(stored.nbytes for stored in self.weights.values())

    @property
    def resized(self) -> str | None:
        """Number of weights that the passes left of the original's, or None where all of them."""
        before, after = self.source.parameters, self.parameters
        if after in (0, before):
            return None
        return f"{before / 1e6:.1f} → {after / 1e6:.1f} million ({after / before:.2f}×)"

    @property
    def bits_per_weight(self) -> float:
        """Stored bits over the original's weights, scales and zero points included."""
        return 8 * self.nbytes / self.source.parameters

    def save(self, directory: Path) -> None:
        """Write ``compress.json`` into a variant's directory."""
        write_files({directory / FILE: self.model_dump_json(indent=2) + "\n"})

    @classmethod
    def read(cls, directory: Path) -> Manifest:
        """Read a directory's ``compress.json``; a ModelError where there is none, or another version wrote it."""
        if not os.path.lexists(directory / FILE):
            hint = advise_variant(directory) or "`compress run` makes variants"
            raise ModelError(f"{directory} is not a variant: it has no {FILE}; {hint}")
        try:
            return cls.model_validate_json(read_bytes(directory / FILE))
        except ValidationError as error:
            first = error.errors()[0]
            reason = ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
            raise ModelError(f"{directory / FILE} can't be read: {reason}; make the variant again") from None


def advise_variant(directory: Path) -> str:
    """Advice to give the variant that a path lies in, or those in it, in its place; empty where there is none."""
    if (directory.parent / FILE).is_file():
        return f"give {directory.parent}"
    variants = folders_below(directory, lambda folder: (folder / FILE).is_file())
    return advise(variants) if variants else ""
