"""Memory bandwidth of this machine, which bounds decoding: every weight is read once a token."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np

_LEAST, _MOST = 1 << 28, 1 << 30
_CACHES = 4
"""caches of every thread's that an array fills at least, so that little of it is read from them"""
_ROUNDS = 6


def read_bandwidth(threads: int, size: int | None = None, rounds: int = _ROUNDS) -> float:
    """Measure the read bandwidth of so many threads, in bytes a second; the best round.

    An array of ``size`` bytes, by default no larger than it takes to leave the caches: on a virtual machine its pages
    cost more than the reading. The maximum of 64-bit integers is the reduction that numpy vectorizes widest, and it
    runs without the interpreter's lock.
    """
    if size is None:
        size = min(_MOST, max(_LEAST, _CACHES * _cache_size() * threads))
    array = np.ones(size // 8, dtype=np.int64)
    parts = np.array_split(array, threads)
    return array.nbytes / min(_seconds(parts) for _ in range(rounds))


def _cache_size() -> int:
    """Bytes of the largest cache that one processor reads through; 0 where the system doesn't say (outside Linux)."""
    sizes = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    return max((int(file.read_text().strip().removesuffix("K")) * 1024 for file in sizes), default=0)


def _seconds(parts: list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]]) -> float:
    readers = [threading.Thread(target=part.max) for part in parts]
    begin = time.perf_counter()
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return time.perf_counter() - begin
