"""The manifest of a variant, ``compress.json``: where it comes from, what was done, and how each weight is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from compress.artifact import Kind
from compress.errors import ModelError
from compress.weight import Dense, Quantized, Weight

FILE = "compress.json"
PER_CHANNEL = -1
"""The group that stands for one scale a whole output channel, as in compressed-tensors."""


class Source(BaseModel):
    """The checkpoint that a variant was made from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """as the user named it"""
    sha256: str
    """over its weight files"""
    architecture: str
    kind: Kind
    parameters: int
    """tied ones once"""
    nbytes: int
    """bytes of its weights"""
    tied: bool


class StoredForm(BaseModel):
    """How one matrix is stored. ``bits``, ``group`` (or PER_CHANNEL) and ``act`` as in `Quantized`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    form: Literal["dense", "quantized"]
    nbytes: int
    bits: int | None = None
    group: int | None = None
    symmetric: bool = True
    act: Literal["dynamic"] | None = None

    @classmethod
    def of(cls, weight: Weight) -> StoredForm:
        """What the manifest says of a weight; a ModelError for a form that no checkpoint format holds."""
        match weight:
            case Dense():
                return cls(form="dense", nbytes=weight.nbytes())
            case Quantized():
                return cls(
                    form="quantized",
                    nbytes=weight.nbytes(),
                    bits=weight.bits,
                    group=PER_CHANNEL if weight.per_channel else weight.group,
                    symmetric=weight.zero_point is None,
                    act=weight.act,
                )
        raise ModelError(f"a {type(weight).__name__} weight can't be written: no checkpoint format holds it")


class Manifest(BaseModel):
    """Everything that is needed to tell what a variant is, and to make it again."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    source: Source
    pipeline: str
    """as written"""
    recipe: list[str]
    """the passes with every option decided"""
    seed: int
    calibration: str
    """which text the statistics are from, and how much of it; "none" where no pass asked"""
    versions: dict[str, str]
    machine: dict[str, str]
    weights: dict[str, StoredForm] = Field(default_factory=dict)

    def save(self, directory: Path) -> None:
        """Write it into a variant's directory."""
        (directory / FILE).write_text(self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, directory: Path) -> Manifest:
        """Read it back; a ModelError for a directory that is no variant."""
        try:
            return cls.model_validate_json((directory / FILE).read_text())
        except OSError:
            raise ModelError(f"{directory} is not a variant: it has no {FILE}") from None
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"]))
            raise ModelError(f"{directory / FILE} can't be read: {where}: {error.errors()[0]['msg']}") from None
