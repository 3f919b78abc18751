"""Stage output directories, so that they appear complete or not at all."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compress.errors import UsageError
from compress.system import interrupt

_STAGE = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.partial")


@contextmanager
def staged(path: Path, overwrite: bool = False, marker: str | None = None) -> Iterator[Path]:
    """Yield a fresh directory beside ``path`` that becomes ``path`` by one rename when the block ends well.

    On any exception, an interrupt included, the fresh directory and the parents made for it are removed and whatever
    was at ``path`` is untouched. Where another process put a directory with a file ``marker`` there meanwhile, that one
    stays, as somebody may be reading it.

    Raises UsageError where ``path`` may not be replaced or its parent can't be written.
    """
    path = path.resolve()
    check_replaceable(path, overwrite)
    parents = _missing_parents(path)
    stage = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.partial"
    try:
        _make(stage)
        yield stage
        interrupt.check()
        if marker is not None and (path / marker).is_file():
            shutil.rmtree(stage, ignore_errors=True)
            return
        check_replaceable(path, overwrite)
        _put_in_place(stage, path)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        _remove_empty(parents)
        raise


def name_in_place(path: Path) -> str:
    """The name that a directory has, or that it will have where it is still staged."""
    match = _STAGE.fullmatch(path.name)
    return match["name"] if match else path.name


def check_replaceable(path: Path, overwrite: bool) -> None:
    """A UsageError where something stands at ``path`` that may not be replaced; cheap enough to ask before the work."""
    if not path.exists():
        return
    if not path.is_dir():
        raise UsageError(f"{path} is a file; choose another output directory")
    if not any(path.iterdir()):
        return
    if not overwrite:
        raise UsageError(f"{path} exists and is not empty; choose another output or pass --overwrite")
    for precious in (Path.cwd(), Path.home()):
        if precious == path or path in precious.parents:
            raise UsageError(f"{path} holds {precious}, so it is never overwritten; choose another output")


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
    """Rename the stage to its place. What was there is set aside first and comes back if the rename fails."""
    if not path.exists():
        stage.rename(path)
        return
    aside = stage.with_suffix(".replaced")
    path.rename(aside)
    try:
        stage.rename(path)
    except BaseException:
        os.replace(aside, path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _remove_empty(parents: list[Path]) -> None:
    for parent in parents:
        try:
            parent.rmdir()
        except OSError:
            return
