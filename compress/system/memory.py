"""Free memory, and memory held by this process."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

from compress.lazy import psutil

_MMAP_MAX, _TRIM_THRESHOLD = -4, -1
"""glibc's numbers of mallopt's limits: of blocks that are mapped each by itself, and of free memory that is kept."""


def free_memory() -> int:
    """Bytes of free memory."""
    return int(psutil.virtual_memory().available)


@contextmanager
def held_memory() -> Iterator[None]:
    """Within, memory that is freed is kept for what comes next, where the C library (glibc) can be told so.

    It hands blocks of tens of megabytes back at once, and the system fills each with zeros when it is asked for again:
    for work that does nothing but that, a fifth of its time.
    """
    settle = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if settle is None:
        yield
        return
    settle(_MMAP_MAX, 0)
    settle(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        settle(_MMAP_MAX, 65536)  # glibc's own
        settle(_TRIM_THRESHOLD, 128 * 2**10)
        release_memory()


def release_memory() -> None:
    """Return freed memory to the system where the C library keeps it (glibc); elsewhere nothing is needed."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)
