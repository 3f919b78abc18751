"""Pages of files that the system keeps in memory."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def drop_cached(folder: Path) -> None:
    """Ask the system to forget what it keeps in memory of a folder's files, so that the next read is from the disk.

    Does nothing where there is no such request (``posix_fadvise`` is POSIX's, and not macOS's); pages that a process
    has mapped stay.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if not file.is_file():
                continue
            handle = os.open(file, os.O_RDONLY)
            try:
                os.fdatasync(handle)  # pages that aren't on the disk yet stay
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(handle)
