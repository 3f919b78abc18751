"""Single output files that a user names: refused before the work where that can't be, written with their folder."""

from __future__ import annotations

import os
from pathlib import Path

from compress.errors import UsageError
from compress.system.file_set import write_files
from compress.system.staging import output_folder


def check_output_file(file: Path) -> None:
    """Raise a UsageError for a file that can't be written; cheap enough to ask before the work."""
    if file.is_dir():
        raise UsageError(f"{file} is a directory; name a file")
    if _is_device(file):
        return
    folder = next(parent for parent in file.absolute().parents if os.path.lexists(parent))
    if not folder.is_dir():
        raise UsageError(f"can't write {file}: {folder} is no directory; name another file")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{file}: nothing can be written to the directory {folder}; name another file")


def write_output_file(file: Path, content: bytes) -> None:
    """Write a file, which appears complete or not at all, and make its folder where there is none.

    A pipe or a device is written to as it is. Raises UsageError where the folder can't be made.
    """
    if _is_device(file):
        file.write_bytes(content)
        return
    with output_folder(file.parent):
        write_files({file: content})


def _is_device(file: Path) -> bool:
    """Whether it is a pipe or a device (``/dev/stdout``), which takes what is written without a place for a file."""
    return file.exists() and not file.is_file()
