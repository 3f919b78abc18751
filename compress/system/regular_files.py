"""Regular files of a checkpoint, checked, parsed and copied: links are followed within its folder alone.

A checkpoint comes from strangers, and its variant is published: a link to a file of this machine must not get into one,
and a pipe or a device must not be waited for. The hub's cache keeps a snapshot's files as links to its ``blobs``.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from compress.errors import ModelError
from compress.system.json_text import parse_json

LARGEST_JSON = 64 << 20
"""Bytes of a JSON file that is parsed: a vocabulary of a million words takes a third of it."""


def refusal(file: Path, folder: Path | None = None) -> str | None:
    """Reason why a file of the checkpoint in ``folder`` (where it lies, by default) isn't opened; None where it may be.

    Worded to follow the file's name: "is a link out of the checkpoint, to /etc/hosts".
    """
    folder = folder or file.parent
    try:
        real = file.resolve(strict=True)
        mode = real.stat().st_mode
    except (OSError, RuntimeError) as error:  # a circle of links is a RuntimeError
        reason = getattr(error, "strerror", None) or error
        return (
            f"is a link that leads nowhere ({os.readlink(file)})" if file.is_symlink() else f"can't be read ({reason})"
        )
    if not lies_in(real, folder):
        return f"is a link out of the checkpoint, to {real}"
    if not stat.S_ISREG(mode):
        return "is a directory" if stat.S_ISDIR(mode) else "is no regular file"
    return None if os.access(real, os.R_OK) else "can't be read (Permission denied)"


def lies_in(file: Path, folder: Path) -> bool:
    """Whether a file, or what a link leads to, is one of the checkpoint in a folder; it need not exist."""
    real = file.resolve()
    return any(real.is_relative_to(place) for place in _places(folder.resolve()))


def check_file(file: Path, folder: Path | None = None) -> None:
    """Raise a ModelError for a file that isn't opened, as `refusal` has it."""
    if reason := refusal(file, folder):
        raise ModelError(f"{file} {reason}; put the file itself there")


def open_file(file: Path, folder: Path | None = None) -> BinaryIO:
    """Open a regular file of a checkpoint for reading; a ModelError where it is none."""
    check_file(file, folder)
    try:
        stream = os.fdopen(os.open(file.resolve(), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb")
    except OSError as error:
        raise ModelError(f"{file} can't be read ({error.strerror})") from error
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):  # put there since it was checked
        stream.close()
        raise ModelError(f"{file} is no regular file; put the file itself there")
    return stream


def copy_file(file: Path, target: Path) -> None:
    """Copy a regular file of a checkpoint; a ModelError where it is none."""
    with open_file(file) as source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy)


def read_bytes(file: Path, limit: int = LARGEST_JSON, folder: Path | None = None) -> bytes:
    """The bytes of a regular file of a checkpoint; a ModelError for one of more than ``limit``."""
    with open_file(file, folder) as stream:
        raw = stream.read(limit + 1)
    if len(raw) > limit:
        raise ModelError(f"{file} is larger than {limit >> 20} MiB, more than is read of such a file")
    return raw


def read_json(file: Path, limit: int = LARGEST_JSON, folder: Path | None = None, unique: bool = False) -> Any:
    """The value in a JSON file of at most ``limit`` bytes; a ModelError for one that is larger, or can't be parsed.

    ``unique`` refuses a key that comes twice as well.
    """
    raw = read_bytes(file, limit, folder)
    try:
        return parse_json(raw, unique)
    except ValueError as error:
        raise ModelError(f"{file} can't be read ({error})") from error


def _places(root: Path) -> Iterator[Path]:
    """The folders that a checkpoint's files may lie in, all resolved."""
    yield root
    for folder in (root, *root.parents):
        if folder.parent.name == "snapshots":
            yield folder.parent.parent / "blobs"
