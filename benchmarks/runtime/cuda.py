"""CUDA runtime calls for engines: buffers, copies to the host, and a clock of the device.

Source: the CUDA Runtime API (memory and event management), by NVIDIA's ``cuda-bindings``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from cuda.bindings import runtime
from numpy.typing import DTypeLike, NDArray

from compress.errors import RunError

Array = NDArray[Any]


def cuda_call(function: Callable[..., tuple[Any, ...]], *arguments: Any) -> Any:
    """Call the CUDA runtime and return its results; its error becomes a RunError."""
    error, *results = function(*arguments)
    if error != runtime.cudaError_t.cudaSuccess:
        raise RunError(f"CUDA: {function.__name__} failed with {error.name}")
    return results[0] if len(results) == 1 else results


class Buffer:
    """Device memory, freed when nothing refers to it any more."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.pointer: int = cuda_call(runtime.cudaMalloc, max(nbytes, 1))  # an empty tensor has an address too

    def __del__(self) -> None:
        if hasattr(self, "pointer"):
            runtime.cudaFree(self.pointer)

    def put(self, array: Array) -> None:
        """Copy an array to the buffer's beginning."""
        contiguous = np.ascontiguousarray(array)
        kind = runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        cuda_call(runtime.cudaMemcpy, self.pointer, contiguous.ctypes.data, contiguous.nbytes, kind)


def fetch(pointer: int, shape: Sequence[int], dtype: DTypeLike) -> Array:
    """Copy a tensor from the device."""
    host = np.empty(tuple(shape), dtype)
    kind = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
    cuda_call(runtime.cudaMemcpy, host.ctypes.data, pointer, host.nbytes, kind)
    return host


def fetch_last(pointer: int, shape: Sequence[int], dtype: DTypeLike) -> Array:
    """Copy ``tensor[:, -1]`` of a tensor ``[b, s, n]`` from the device: ``[b, n]``."""
    batch, length, size = shape
    host = np.empty((batch, size), dtype)
    row = size * host.itemsize
    kind = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
    start = pointer + (length - 1) * row
    cuda_call(runtime.cudaMemcpy2D, host.ctypes.data, row, start, length * row, row, batch, kind)
    return host


class Clock:
    """Clock of a CUDA stream, by events recorded in it."""

    def __init__(self, stream: int) -> None:
        self._stream = stream
        self._last, self._next = (cuda_call(runtime.cudaEventCreate) for _ in range(2))
        self._seconds = math.nan

    def __call__(self) -> float:
        """Seconds until the stream has finished all work queued so far."""
        cuda_call(runtime.cudaEventRecord, self._next, self._stream)
        cuda_call(runtime.cudaEventSynchronize, self._next)
        if math.isnan(self._seconds):
            self._seconds = 0.0
        else:
            self._seconds += cuda_call(runtime.cudaEventElapsedTime, self._last, self._next) / 1e3
        self._last, self._next = self._next, self._last
        return self._seconds
