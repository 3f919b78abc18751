"""How fast this machine reads memory: the ceiling of decoding, which reads every weight once a token."""

from __future__ import annotations

import threading
import time

import numpy as np

_BYTES = 1 << 30
_ROUNDS = 6


def read_bandwidth(threads: int, size: int = _BYTES, rounds: int = _ROUNDS) -> float:
    """Bytes a second that so many threads read, each its own part of an array of ``size`` bytes; the best round.

    The maximum of 64-bit integers is the reduction that numpy vectorizes widest, and it runs without the
    interpreter's lock.
    """
    array = np.ones(size // 8, dtype=np.int64)
    parts = np.array_split(array, threads)
    return array.nbytes / min(_seconds(parts) for _ in range(rounds))


def _seconds(parts: list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]]) -> float:
    readers = [threading.Thread(target=part.max) for part in parts]
    begin = time.perf_counter()
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return time.perf_counter() - begin
