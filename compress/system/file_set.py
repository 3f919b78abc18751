"""Write several files together, all or none, in directories that hold other things besides."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from compress.errors import UsageError
from compress.system import interrupt
from compress.system.leftovers import in_use, is_leftover

_JOURNAL = re.compile(r"\.files\.(?P<process>[0-9a-f]{8})\.partial")
"""The list of the files that are complete and wait; by its name it is a leftover like them (`leftovers`)."""
_WAITING = re.compile(r"\.(?P<name>.+)\.(?P<process>[0-9a-f]{8})\.partial")


def write_files(contents: Mapping[Path, str | bytes], obsolete: Iterable[Path] = ()) -> None:
    """Replace files by new contents, then remove the ``obsolete`` ones that exist; their directories must exist.

    Every content is on the disk, beside its place, before the first one takes it, so that a full disk or an interrupt
    changes nothing. An interrupt while they take their places waits until all have; after a kill the next call on the
    same directory (or `finish_files`) moves the rest. A process that writes into one of the directories is waited for.
    Raises UsageError where a directory has the name of a file.
    """
    folders = dict.fromkeys(path.parent for path in contents)
    with _alone_in(folders):
        for folder in folders:
            _finish(folder)
        _write_together(contents, folders)
        _remove(obsolete)


def finish_files(folder: Path) -> int:
    """Finish what a killed process began in a directory: move what was complete, remove what wasn't.

    Returns how many files there were.
    """
    with _alone_in([folder]):
        return _finish(folder)


@contextmanager
def _alone_in(folders: Iterable[Path]) -> Iterator[None]:
    """Within, no other process writes files together into these directories: two at once would mix theirs.

    A directory on its way to its place is in use by its maker, and nobody else writes there.
    """
    with ExitStack() as stack:
        for folder in sorted({folder.resolve() for folder in folders}):
            if not is_leftover(folder.name):
                stack.enter_context(in_use(folder))
        yield


def _write_together(contents: Mapping[Path, str | bytes], folders: Iterable[Path]) -> None:
    if blocked := next((path for path in contents if path.is_dir()), None):
        raise UsageError(f"{blocked} is a directory, where a file is to be written; move it or choose another output")
    process = f"{os.getpid():08x}"
    waiting = {path: path.with_name(f".{path.name}.{process}.partial") for path in contents}
    journals = {folder: folder / f".files.{process}.partial" for folder in folders}
    try:
        for path, content in contents.items():
            _write(waiting[path], content.encode() if isinstance(content, str) else content)
        for folder, journal in journals.items():
            _write(journal, json.dumps([path.name for path in contents if path.parent == folder]).encode())
    except BaseException:
        with interrupt.postponed():
            _remove([*journals.values(), *waiting.values()])
        raise
    try:
        with interrupt.postponed():
            _take_places(journals.values())
    except KeyboardInterrupt:
        _take_places(journals.values())
        raise
    except OSError:
        _remove([*journals.values(), *waiting.values()])
        raise


def _finish(folder: Path) -> int:
    count = 0
    files = [file for file in sorted(folder.glob(".*")) if file.is_file() and not file.is_symlink()]
    for pattern, finish in ((_JOURNAL, _take_places), (_WAITING, _remove)):
        for file in files:
            match = pattern.fullmatch(file.name)
            if match is not None and not _is_running(int(match["process"], 16)):
                count += file.exists()
                finish([file])
    return count


def _take_places(journals: Iterable[Path]) -> None:
    """Move the files that journals list, and that still wait, to their places."""
    for journal in journals:
        process = journal.suffixes[-2]
        for name in _names(journal):
            file = journal.with_name(f".{name}{process}.partial")
            if file.is_file() and not file.is_symlink():
                os.replace(file, journal.with_name(name))
        _remove([journal])


def _names(journal: Path) -> list[str]:
    """Names in a journal; none where it is gone, or was not complete, so that nothing may be moved."""
    try:
        names = json.loads(journal.read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    return [name for name in names if isinstance(name, str) and "/" not in name] if isinstance(names, list) else []


def _write(file: Path, content: bytes) -> None:
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    """Whether another process has that number; in a container the next one often has this process's own."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
