"""Stage output directories, so that they appear complete or not at all."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compress.errors import UsageError
from compress.system import interrupt
from compress.system.leftovers import in_use, new_name, put_right
from compress.system.ownership import foreign_entry

_CURRENT_FOLDER, _EXCHANGE = -100, 2
"""Linux's AT_FDCWD and RENAME_EXCHANGE."""


@contextmanager
def staged(
    path: Path, overwrite: bool = False, marker: str | None = None, source: Path | None = None
) -> Iterator[Path]:
    """Yield a fresh directory beside ``path`` that becomes ``path`` by one rename when the block ends well.

    On any exception, an interrupt included, the fresh directory and the parents made for it are removed and whatever
    was at ``path`` is untouched; what a kill leaves is put right by the next call for the same place. With
    ``overwrite``, what this program wrote at ``path`` is replaced, and nothing else; the ``source`` that is read never
    is. Where another process put a directory with a file ``marker`` there meanwhile, that one stays, as somebody may be
    reading it.

    Raises UsageError where ``path`` may not be replaced or its parent can't be written.
    """
    path = path.resolve()
    put_right(path.parent, path.name)
    check_replaceable(path, overwrite, source)
    parents = _missing_parents(path)
    stage = path.parent / new_name(path.name)
    try:
        _make(stage)
        with in_use(stage):
            yield stage
            interrupt.check()
            if marker is not None and (path / marker).is_file():
                shutil.rmtree(stage, ignore_errors=True)
                return
            check_replaceable(path, overwrite, source)
            _put_in_place(stage, path)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        _remove_empty(parents)
        raise


@contextmanager
def scratch(folder: Path, name: str) -> Iterator[Path]:
    """Yield a fresh directory in a folder that is removed at the end; what a kill leaves of it is found by `put_right`.

    ``name`` says what it is for.
    """
    put_right(folder, name)
    directory = folder / new_name(name)
    _make(directory)
    try:
        with in_use(directory):
            yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def check_replaceable(path: Path, overwrite: bool, source: Path | None = None) -> None:
    """A UsageError where something stands at ``path`` that may not be replaced; cheap enough to ask before the work.

    ``source`` is what is read, which is kept whatever it is.
    """
    try:
        path.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return
        raise UsageError(f"can't write to {path} ({error.strerror}); choose another output directory") from error
    if not path.is_dir():
        raise UsageError(f"{path} is a file; choose another output directory")
    if path.is_mount():
        raise UsageError(f"{path} is a mount point, which can't be replaced; choose a directory in it: {path / 'out'}")
    if not any(path.iterdir()):
        return
    if not overwrite:
        raise UsageError(f"{path} exists and is not empty; choose another output or pass --overwrite")
    real = path.resolve()
    for precious in (Path.cwd(), Path(os.path.expanduser("~")), *([] if source is None else [source.resolve()])):
        if precious == real or real in precious.parents:
            raise UsageError(f"{path} holds {precious}, so it is never overwritten; choose another output")
    if (foreign := foreign_entry(path)) is not None:
        reason = f"{foreign} in it is not compress's" if foreign else "no variant, artifact or report is in it"
        raise UsageError(f"{path} is not overwritten, as {reason}; choose another output, or remove it yourself")


def make_folder(path: Path) -> None:
    """Make a directory for outputs where there is none; a UsageError where that can't be done."""
    if os.path.exists(path) and not path.is_dir():
        raise UsageError(f"{path} is a file; choose another output directory")
    if not os.path.isdir(path):
        _make(path)


def _missing_parents(path: Path) -> list[Path]:
    """The parents that don't exist yet, deepest first."""
    missing = []
    for parent in path.parents:
        if parent.exists():
            break
        missing.append(parent)
    return missing


def _make(stage: Path) -> None:
    try:
        stage.mkdir(parents=True)
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"can't write to {stage.parent} ({reason}); choose another output directory") from error


def _put_in_place(stage: Path, path: Path) -> None:
    """Rename the stage to its place; what was there is removed.

    Both change places at once where the system can do that. Else what was there is set aside first, comes back if the
    rename fails, and is found by `put_right` after a kill in between.
    """
    if not path.exists():
        stage.rename(path)
        return
    if _exchange(stage, path):
        shutil.rmtree(stage, ignore_errors=True)
        return
    aside = stage.with_suffix(".replaced")
    path.rename(aside)
    try:
        stage.rename(path)
    except BaseException:
        os.replace(aside, path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Let two directories change places, atomically; False where the kernel or the file system has no way to."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    if rename is None:
        return False
    done: int = rename(_CURRENT_FOLDER, os.fsencode(first), _CURRENT_FOLDER, os.fsencode(second), _EXCHANGE)
    return done == 0


def _remove_empty(parents: list[Path]) -> None:
    for parent in parents:
        try:
            parent.rmdir()
        except OSError:
            return
