"""Recorded hashes of weight files: ``SHA256SUMS`` beside them, and the names that the hub's cache gives its blobs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from compress.checkpoint.files.hashes import sha256
from compress.errors import ModelError
from compress.system.regular_files import open_file

SUMS = "SHA256SUMS"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LARGEST = 16 << 20
"""Bytes that are read of a ``SHA256SUMS``."""


def record_hashes(path: Path, sums: Mapping[str, str] | None = None) -> None:
    """Write the sha256 of every weight file in a directory into ``SHA256SUMS``, in the format of ``sha256sum``.

    ``sums`` are the hashes by file name, where they are known.
    """
    if sums is None:
        sums = {file.name: sha256(file) for file in path.glob("*.safetensors")}
    (path / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())))


def recorded_hashes(path: Path, files: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Those of a directory's weight files whose hash is recorded, with it; a ModelError for sums that can't be read."""
    written = _read_sums(path / SUMS) if os.path.lexists(path / SUMS) else {}
    for file in files:
        blob = file.resolve().name
        if file.name in written:
            yield file, written[file.name]
        elif file.is_symlink() and _SHA256.fullmatch(blob):
            yield file, blob


def _read_sums(file: Path) -> dict[str, str]:
    """The hashes in a ``SHA256SUMS`` by file name."""
    with open_file(file) as stream:
        lines = stream.read(_LARGEST).decode(errors="replace").splitlines()
    pairs = [line.split(maxsplit=1) for line in lines if line.strip()]
    if malformed := next((pair for pair in pairs if len(pair) != 2), None):
        raise ModelError(f"{file} can't be read: {malformed[0]!r} is no hash and file name")
    return {name.lstrip("*"): digest for digest, name in pairs}
