"""Stage output directories, so that they appear complete or not at all."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from compress.errors import UsageError
from compress.system import interrupt
from compress.system.file_set import finish_files
from compress.system.leftovers import in_use, new_name, put_right
from compress.system.ownership import foreign_entry, foreign_report

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
    try:
        with _working_directory(path.parent, path.name) as stage:
            yield stage
            interrupt.check()
            if marker is not None and (path / marker).is_file():
                return
            _make_readable(stage)
            try:
                stage.rename(path)  # to where nothing is, or an empty directory
            except OSError:
                if not path.exists():
                    raise
                check_replaceable(path, overwrite, source)
                _change_places(stage, path)
    except BaseException:
        with interrupt.postponed():
            _remove_empty(parents)
        raise


@contextmanager
def scratch(name: str, folder: Path | None = None) -> Iterator[Path]:
    """Yield a fresh directory in a folder that is removed at the end; what a kill leaves of it is found by `put_right`.

    ``name`` says what it is for. Nobody but this user can read it. Without a ``folder`` it is in that of the system for
    temporary files.
    """
    folder = folder or Path(tempfile.gettempdir())
    put_right(folder, name)
    with _working_directory(folder, name, mode=0o700) as directory:
        yield directory


@contextmanager
def _working_directory(folder: Path, name: str, mode: int = 0o777) -> Iterator[Path]:
    """Yield a new directory on its way to a name in a folder; what has that path at the end is removed.

    Until it is locked another process may take it for a leftover: then there is one more.
    """
    while True:
        directory = folder / new_name(name)
        _make(directory, mode)
        try:
            with in_use(directory):
                if directory.is_dir():
                    yield directory
                    return
        finally:
            with interrupt.postponed():
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


def check_report(folder: Path) -> None:
    """A UsageError where a report would replace a file in a directory that this program didn't write."""
    finish_files(folder)
    if (foreign := foreign_report(folder)) is not None:
        raise UsageError(
            f"{folder / foreign} is not compress's, and a report would replace it; choose another directory with -o"
        )


@contextmanager
def output_folder(path: Path) -> Iterator[Path]:
    """Make a directory for outputs where there is none, with its parents; they go again where the block fails.

    What has something in it stays. Raises UsageError where it can't be made.
    """
    if os.path.exists(path) and not path.is_dir():
        raise UsageError(f"{path} is a file; choose another output directory")
    missing = [] if os.path.isdir(path) else [path, *_missing_parents(path)]
    if missing:
        _make(path)
    try:
        yield path
    except BaseException:
        with interrupt.postponed():
            _remove_empty(missing)
        raise


def _missing_parents(path: Path) -> list[Path]:
    """The parents that don't exist yet, deepest first."""
    missing = []
    for parent in path.parents:
        if parent.exists():
            break
        missing.append(parent)
    return missing


def _make(directory: Path, mode: int = 0o777) -> None:
    try:
        directory.mkdir(mode, parents=True)
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"can't write to {directory.parent} ({reason}); choose another output directory") from error


def _make_readable(stage: Path) -> None:
    """Give weights the permissions that this user's mask leaves to files: safetensors makes its own private."""
    mode = stage.stat().st_mode & 0o666
    for file in stage.rglob("*.safetensors"):
        with suppress(OSError):  # on a file system without permissions
            file.chmod(mode)


def _change_places(stage: Path, path: Path) -> None:
    """Put the stage where another directory is, which is at the stage's path afterwards, or gone.

    Both change places at once where the system can do that. Else what was there is set aside first, comes back if the
    rename fails, and is found by `put_right` after a kill in between.
    """
    if _exchange(stage, path):
        return
    aside = stage.with_suffix(".replaced")
    with in_use(path):
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
