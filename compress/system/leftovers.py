"""Find what killed runs left behind beside their outputs, and put it right."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NAME = re.compile(r"\.(?P<place>.+)\.[0-9a-f]{8}\.(?P<role>partial|replaced)")
"""A directory on its way to its place, or the one that was there before."""
_PATIENCE, _PAUSE = 10.0, 0.01
"""Seconds that a lock of another process is waited for, and between two attempts."""


def new_name(place: str) -> str:
    """A name for a directory on its way to a place beside it."""
    return f".{place}.{uuid.uuid4().hex[:8]}.partial"


def is_leftover(name: str) -> bool:
    """Whether a name is one that only directories on their way have."""
    return _NAME.fullmatch(name) is not None


def name_in_place(path: Path) -> str:
    """The name that a directory has, or that it will have where it is still on its way."""
    match = _NAME.fullmatch(path.name)
    return match["place"] if match else path.name


@contextmanager
def in_use(directory: Path) -> Iterator[None]:
    """Within, `put_right` of any process leaves a directory alone; a kill ends that.

    Who has it already is waited for, but not for ever: it may be a shell that holds it while this program runs.
    """
    lock = _lock(directory, _PATIENCE)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def put_right(folder: Path, place: str | None = None) -> tuple[int, int]:
    """Remove what killed runs left in a folder; an output that was set aside while another took its place comes back.

    ``place``: only what was on its way to this name. What a running process uses stays. Returns how many directories
    were removed, and their bytes.
    """
    removed = freed = 0
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.suffix, reverse=True)  # .replaced, then .partial
    except OSError:
        return 0, 0  # what can't be listed can't be written to either, which is told by whoever tries
    for entry in entries:
        match = _NAME.fullmatch(entry.name)
        if match is None or (place is not None and match["place"] != place) or not _is_ours(entry):
            continue
        if (lock := _lock(entry)) is None:
            continue
        try:
            if match["role"] == "replaced" and not os.path.lexists(folder / match["place"]):
                with suppress(OSError):  # another user's, in a folder that both write to
                    entry.rename(folder / match["place"])
                continue
            nbytes = _nbytes(entry)
            shutil.rmtree(entry, ignore_errors=True)
            if not entry.exists():
                removed, freed = removed + 1, freed + nbytes
        finally:
            os.close(lock)
    return removed, freed


def _is_ours(entry: Path) -> bool:
    return entry.is_dir() and not entry.is_symlink()


def _nbytes(directory: Path) -> int:
    """Bytes of the files in a directory, as far as they are there still: another process may be removing them."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total


def _lock(directory: Path, patience: float = 0.0) -> int | None:
    """Lock a directory until the descriptor is closed.

    None where another has for longer than so many seconds, where it is gone or another user's, or where there are no
    such locks.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:
        return None
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except OSError as error:
            if not isinstance(error, BlockingIOError) or time.monotonic() >= deadline:
                os.close(descriptor)
                return None
        time.sleep(_PAUSE)
