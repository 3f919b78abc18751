"""Hold variants against what was recorded when they were made: their files, their artifacts, their original."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compress.checkpoint.files import artifact
from compress.checkpoint.files.hashes import config_digest, mismatches, unrecorded
from compress.checkpoint.files.manifest import Manifest, Source
from compress.checkpoint.locate import locate_offline
from compress.checkpoint.model import Model
from compress.errors import ModelError
from compress.progress import Progress, Silent


@dataclass(frozen=True)
class Verification:
    """What was compared of a variant, in words, and the ``problems``: a line each, none where all is as recorded."""

    compared: str
    problems: tuple[str, ...]


def verify(
    path: str | Path, model: str | None = None, trust_remote_code: bool = False, progress: Progress | None = None
) -> Verification:
    """Compare every file of a variant with its manifest, and the original where it is at hand.

    ``model``: where the original is now; None looks where it was, and fetches nothing. ``trust_remote_code`` as in
    `Model.open`. Raises ModelError for a directory that is no variant, and for a ``model`` that can't be read.
    """
    path, progress = Path(path), progress or Silent()
    manifest = Manifest.read(path)
    problems = [f"{name} {problem}" for name, problem in mismatches(path, manifest.files, progress)]
    if manifest.files:
        folders = ["", *(file.parent.relative_to(path).as_posix() for file in path.glob(f"*/{artifact.FILE}"))]
        problems += [f"{name} is not recorded" for folder in folders for name in unrecorded(path, manifest, folder)]
    else:
        problems.append("no hashes of its files are recorded, as an older compress made it; make it again")
    compared = f"{len(manifest.files)} files"
    place = model or locate_offline(manifest.source.name)
    if place is None:
        return Verification(f"{compared}; the original {manifest.source.name} is not at hand", tuple(problems))
    try:
        original = Model.open(place, trust_remote_code, progress, manifest.source.dequantized is not None)
    except ModelError as error:
        if model is not None:
            raise
        problems.append(f"the original can't be read: {error}")
    else:
        problems += original_problems(manifest.source, original)
    return Verification(f"{compared} and the original {place}", tuple(problems))


def original_problems(source: Source, model: Model) -> list[str]:
    """In what a model differs from the recorded source of a variant, a line each."""
    differences = []
    if model.digest != source.sha256:
        differences.append("weights differ")
    if source.config_sha256 and config_digest(model.path) != source.config_sha256:
        differences.append("config.json differs")
    sums = model.file_sums if source.files else {}
    changed = sorted(name for name in source.files.keys() | sums.keys() if source.files.get(name) != sums.get(name))
    differences += [f"{name} differs" for name in changed]
    return [f"{model.source} is not the original of these variants: its {difference}" for difference in differences]
