"""Contenders of a scorecard: their files, and the sizes known without running them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from compress.benchmarks.results.layer_errors import LayerErrors
from compress.benchmarks.runtime.specs import ENGINES, spec_of_target
from compress.checkpoint.files.artifact import Artifact
from compress.errors import ModelError
from compress.modeling.classifier import is_multi_label
from compress.modeling.kinds import TaskKind

if TYPE_CHECKING:
    from compress.checkpoint.base import Checkpoint  # a report is read without torch

ORIGINAL, FLOAT = "torch", "onnx float"
"""Names of the baselines."""

Role = Literal["original", "float", "variant", "peer"]
"""The original checkpoint in torch; its float export, nothing applied; something compressed or fused; the same model
compressed by another tool."""


@dataclass(frozen=True)
class Applied:
    """A pass of a variant: its text, and its difficulty from 1 to 5 (`difficulty`).

    ``graph``: it changes which operators run, and no weight.
    """

    text: str
    difficulty: int
    graph: bool = False


@dataclass(frozen=True)
class Contender:
    """One row to be measured: a model in a runtime.

    ``parameters`` counts the source's weights (tied ones once), ``disk_bytes`` the files that the engine loads
    (weights and graph, no tokenizer), ``stored_bytes`` the weights alone, and ``read_bytes`` what decoding one token
    reads of them (None: the engine says). ``zeros`` and ``products`` as in `Artifact`. ``passes`` were applied in
    order, and ``errors`` are what they cost each layer. ``multi_label``: each of a classifier's labels is a yes or no
    of its own.
    """

    name: str
    path: Path
    engine: str
    kind: TaskKind
    role: Role
    recipe: str
    parameters: int
    stored_bytes: int
    disk_bytes: int
    read_bytes: int | None = None
    zeros: bool = False
    products: bool = False
    passes: tuple[Applied, ...] = ()
    multi_label: bool = False
    errors: LayerErrors | None = None

    @classmethod
    def of_checkpoint(cls, checkpoint: Checkpoint, parameters: int, name: str = ORIGINAL) -> Contender:
        """The original in transformers, in float32."""
        disk = loaded_bytes(checkpoint.path, "torch")
        recipe = "transformers, float32"
        return cls(
            name=name,
            path=checkpoint.path,
            engine="torch",
            kind=checkpoint.kind,
            role="original",
            recipe=recipe,
            parameters=parameters,
            stored_bytes=disk,
            disk_bytes=disk,
            multi_label=checkpoint.kind.has_classes and is_multi_label(checkpoint.config),
        )

    @classmethod
    def of_artifact(
        cls,
        artifact: Artifact,
        name: str,
        recipe: str,
        role: Role = "variant",
        passes: tuple[Applied, ...] = (),
        errors: LayerErrors | None = None,
    ) -> Contender:
        """An exported model on its own runtime; ``recipe`` says what was applied."""
        spec = spec_of_target(artifact.target)
        if spec is None:
            raise ModelError(f"{artifact.path}: no engine here runs the target {artifact.target!r}")
        return cls(
            name=name,
            path=artifact.path,
            engine=spec.name,
            kind=artifact.kind,
            role=role,
            recipe=f"{recipe}, run as {spec.runs_as}" if spec.runs_as else recipe,
            parameters=artifact.parameters,
            stored_bytes=artifact.stored_bytes,
            disk_bytes=loaded_bytes(artifact.path, spec.name),
            read_bytes=None if spec.runs_as else artifact.read_bytes,
            zeros=artifact.zeros,
            products=artifact.products,
            passes=passes,
            errors=errors,
        )

    @classmethod
    def of_peer(
        cls, name: str, path: Path, engine: str, recipe: str, checkpoint: Checkpoint, parameters: int, read_bytes: int
    ) -> Contender:
        """Another tool's build of a checkpoint, run by ``engine``."""
        disk = loaded_bytes(path, engine)
        return cls(name, path, engine, checkpoint.kind, "peer", recipe, parameters, disk, disk, read_bytes)

    def files(self) -> list[Path]:
        """Files that the engine loads, in order."""
        return loaded_files(self.path, self.engine)

    @property
    def other_bytes(self) -> int:
        """Bytes of what the engine loads that is no weight: the graph, and tables that it doesn't compute."""
        return max(0, self.disk_bytes - self.stored_bytes)

    def same_bytes(self, other: Contender) -> bool:
        """Whether both load byte-identical files."""
        mine, theirs = self.files(), other.files()
        if [(f.name, f.stat().st_size) for f in mine] != [(f.name, f.stat().st_size) for f in theirs]:
            return False
        return all(_equal(a, b) for a, b in zip(mine, theirs, strict=True))


def loaded_files(path: Path, engine: str) -> list[Path]:
    """Files of a directory that an engine loads, in order; none where it holds nothing for it."""
    for patterns in ENGINES[engine].files:
        if files := sorted({file for pattern in patterns for file in path.glob(pattern)}):
            return files
    return []


def loaded_bytes(path: Path, engine: str) -> int:
    """Bytes of the files of a directory that an engine loads; a ModelError where there are none."""
    files = loaded_files(path, engine)
    if not files:
        patterns = [pattern for alternative in ENGINES[engine].files for pattern in alternative]
        raise ModelError(f"{path} holds nothing to load: no {' or '.join(patterns)}")
    return sum(file.stat().st_size for file in files)


def _equal(first: Path, second: Path) -> bool:
    with first.open("rb") as a, second.open("rb") as b:
        while chunk := a.read(1 << 22):
            if chunk != b.read(1 << 22):
                return False
    return True
