"""One row to measure: where it lies, which engine runs it, and the sizes that are known without running it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from compress.benchmarks.results.layer_errors import LayerErrors
from compress.checkpoint.artifact import Artifact
from compress.errors import ModelError
from compress.modeling.classifier import is_multi_label
from compress.modeling.kinds import TaskKind

if TYPE_CHECKING:
    from compress.checkpoint.base import Checkpoint  # a report is read without torch

Role = Literal["original", "float", "variant", "peer"]
"""The original checkpoint in torch; its float export, nothing applied; something compressed or fused; the same model
compressed by another tool."""

_LOADED = {
    "torch": ("*.safetensors", "*.bin"),
    "hf": ("*.safetensors",),
    "ort-cpu": ("*.onnx", "*.onnx.data*"),
    "ort-cuda": ("*.onnx", "*.onnx.data*"),
    "tensorrt": ("engine.plan",),
    "genai": ("*.onnx", "*.onnx.data*"),
    "llama.cpp": ("*.gguf",),
}


_ENGINES = {"gguf": "llama.cpp"}
"""Engines of targets that go by another name."""

_WIDENED = {"hf": "float32 in transformers"}
"""Engines that run an artifact's weights in another form than the stored one, and in which."""


@dataclass(frozen=True)
class Applied:
    """A pass that a variant went through: as it is written, and how difficult it is, from 1 to 5 (`difficulty`).

    ``graph``: it changes which operators run, and no weight.
    """

    text: str
    difficulty: int
    graph: bool = False


@dataclass(frozen=True)
class Contender:
    """Something that a scorecard measures.

    ``parameters`` counts the source's weights (tied ones once), ``disk_bytes`` the files that the engine loads
    (weights and graph, no tokenizer), ``stored_bytes`` the weights alone, and ``read_bytes`` what decoding one token
    reads of them (None: the engine says). ``zeros`` and ``products`` as in `Artifact`.
    ``passes`` were applied in order, and ``errors`` are what they cost each layer. ``separate``: each of a classifier's
    labels is a yes or no of its own.
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
    separate: bool = False
    errors: LayerErrors | None = None

    @classmethod
    def of_checkpoint(cls, checkpoint: Checkpoint, parameters: int, name: str = "torch") -> Contender:
        """The original as its user runs it: transformers, float32."""
        disk = _loaded_bytes(checkpoint.path, "torch")
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
            separate=checkpoint.kind.has_classes and is_multi_label(checkpoint.config),
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
        engine = _ENGINES.get(artifact.target, artifact.target)
        if engine not in _LOADED:
            raise ModelError(f"{artifact.path}: no engine here runs the target {artifact.target!r}")
        return cls(
            name=name,
            path=artifact.path,
            engine=engine,
            kind=artifact.kind,
            role=role,
            recipe=f"{recipe}, run as {_WIDENED[engine]}" if engine in _WIDENED else recipe,
            parameters=artifact.parameters,
            stored_bytes=artifact.stored_bytes,
            disk_bytes=_loaded_bytes(artifact.path, engine),
            read_bytes=None if engine in _WIDENED else artifact.read_bytes,
            zeros=artifact.zeros,
            products=artifact.products,
            passes=passes,
            errors=errors,
        )

    @classmethod
    def of_peer(
        cls, name: str, path: Path, engine: str, recipe: str, checkpoint: Checkpoint, parameters: int, read_bytes: int
    ) -> Contender:
        """What another tool made of a checkpoint, run by ``engine``."""
        disk = _loaded_bytes(path, engine)
        return cls(name, path, engine, checkpoint.kind, "peer", recipe, parameters, disk, disk, read_bytes)

    def files(self) -> list[Path]:
        """What the engine loads, in order."""
        return _loaded(self.path, self.engine)

    def same_bytes(self, other: Contender) -> bool:
        """Whether both load byte-identical files."""
        mine, theirs = self.files(), other.files()
        if [(f.name, f.stat().st_size) for f in mine] != [(f.name, f.stat().st_size) for f in theirs]:
            return False
        return all(_equal(a, b) for a, b in zip(mine, theirs, strict=True))


def _loaded(path: Path, engine: str) -> list[Path]:
    if engine == "torch":  # pickled weights lie idle where safetensors lie beside them
        for pattern in _LOADED[engine]:
            if found := sorted(path.glob(pattern)):
                return found
        return []
    return sorted({f for pattern in _LOADED[engine] for f in path.glob(pattern)})


def _loaded_bytes(path: Path, engine: str) -> int:
    files = _loaded(path, engine)
    if not files:
        raise ModelError(f"{path} holds nothing to load: no {' or '.join(_LOADED[engine])}")
    return sum(file.stat().st_size for file in files)


def _equal(one: Path, other: Path) -> bool:
    with one.open("rb") as a, other.open("rb") as b:
        while chunk := a.read(1 << 22):
            if chunk != b.read(1 << 22):
                return False
    return True
