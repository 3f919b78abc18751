"""Hashes of a variant's files: recorded in its manifest as they are written, compared before they are trusted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from compress.checkpoint.files import artifact
from compress.progress import Progress
from compress.system.regular_files import read_json

if TYPE_CHECKING:
    from compress.checkpoint.files.manifest import Manifest

CARD = "README.md"
_CHANGING = frozenset({"compress.json", CARD})
"""Files of a variant that change after it was made: the manifest with the hashes, the card with scores."""
_LOADED = frozenset({".safetensors", ".json", ".jinja", ".model", ".py", ".bin", ".pt", ".pth", ".gguf"})


def sha256(file: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def config_digest(model: Path) -> str:
    """The sha256 of a checkpoint's ``config.json``, whatever its order and spacing; a ModelError where it is none."""
    content = read_json(model / "config.json")
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def own_files(directory: Path, weights: Mapping[str, str]) -> dict[str, str]:
    """Hashes of a variant's files, by path, before it has artifacts; those of its ``weights`` were taken already."""
    return {
        name: weights.get(name) or sha256(directory / name) for name in _inside(directory, "") if name not in _CHANGING
    }


def artifact_sums(directory: Path, folder: str) -> dict[str, str]:
    """Hashes of an artifact's files in a directory, by their paths once it is the ``folder`` of a variant."""
    return {f"{folder}/{name}": sha256(directory / name) for name in _inside(directory, "")}


def record_artifact(directory: Path, manifest: Manifest, folder: str, sums: Mapping[str, str] | None = None) -> None:
    """Record an artifact's files in the manifest of its variant, in place of those that were there before.

    ``folder`` is the artifact's inside the variant, all of which is hashed, unless its ``sums`` are known; where it is
    empty the variant itself is the artifact, and its ``artifact.json`` all that is new.
    """
    if not folder:
        sums = {artifact.FILE: sha256(directory / artifact.FILE)}
    elif sums is None:
        sums = artifact_sums(directory / folder, folder)
    others = {name: digest for name, digest in manifest.files.items() if not (folder and name.startswith(f"{folder}/"))}
    manifest.files = dict(sorted({**others, **sums}.items()))
    manifest.save(directory)


def record_additions(directory: Path, manifest: Manifest, folder: str) -> None:
    """Record what has come into an artifact's folder since, such as an engine."""
    added = {name: sha256(directory / name) for name in unrecorded(directory, manifest, folder)} if folder else {}
    if added:
        manifest.files = dict(sorted((manifest.files | added).items()))
        manifest.save(directory)


def recorded(manifest: Manifest, folder: str) -> dict[str, str]:
    """Recorded hashes of an artifact's files by their path inside the variant; its own where ``folder`` is empty."""
    if folder:
        return {name: digest for name, digest in manifest.files.items() if name.startswith(f"{folder}/")}
    artifacts = tuple(name.removesuffix(artifact.FILE) for name in manifest.files if name.endswith(f"/{artifact.FILE}"))
    return {name: digest for name, digest in manifest.files.items() if not name.startswith(artifacts)}


def mismatches(directory: Path, hashes: Mapping[str, str], progress: Progress) -> Iterator[tuple[str, str]]:
    """Files that aren't as they were recorded, by their path inside a variant, and what is the matter with each."""
    for name in progress.track(hashes, f"comparing {directory} with its hashes", unit="file"):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            yield name, "is outside the variant"
        elif not (directory / name).is_file():
            yield name, "is missing"
        elif sha256(directory / name) != hashes[name]:
            yield name, f"was changed: its sha256 isn't the recorded {hashes[name][:12]}…"


def unrecorded(directory: Path, manifest: Manifest, folder: str) -> list[str]:
    """Files of an artifact's folder that aren't recorded; of a variant itself, those that a loader may read."""
    if folder:
        return [name for name in _inside(directory, folder) if name not in manifest.files]
    artifacts = {file.parent.name for file in directory.glob(f"*/{artifact.FILE}")}
    return [
        name
        for name in _inside(directory, "")
        if name not in manifest.files and name not in _CHANGING and _is_loaded(PurePosixPath(name), artifacts)
    ]


def _is_loaded(path: PurePosixPath, artifacts: Collection[str]) -> bool:
    """Whether a loader may read a file of a variant: not in a hidden folder, nor in one of the ``artifacts``."""
    folder = path.parts[0] if len(path.parts) > 1 else ""
    return path.suffix in _LOADED and not folder.startswith(".") and folder not in artifacts


def _inside(directory: Path, folder: str) -> list[str]:
    """Paths of all files in a folder of a variant, relative to the variant."""
    return sorted(file.relative_to(directory).as_posix() for file in (directory / folder).rglob("*") if file.is_file())
