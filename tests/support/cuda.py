"""The CUDA runtime, played by this process's own memory."""
# ruff: noqa: N802, N815 - the runtime's own names

from __future__ import annotations

import ctypes
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

OK = "cudaSuccess"


class Runtime:
    """Addresses are the host's, and every event that is recorded comes 2 ms after the one before it."""

    cudaError_t = SimpleNamespace(cudaSuccess=OK)
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)

    def __init__(self) -> None:
        self.memory: dict[int, Any] = {}
        self.freed: list[int] = []
        self.times: dict[int, float] = {}
        self.now = 0.0

    def cudaMalloc(self, nbytes: int) -> tuple[str, int]:
        block = ctypes.create_string_buffer(nbytes)
        self.memory[ctypes.addressof(block)] = block
        return OK, ctypes.addressof(block)

    def cudaFree(self, pointer: int) -> tuple[str]:
        self.freed.append(pointer)
        return (OK,)

    def cudaMemcpy(self, target: int, source: int, nbytes: int, kind: int) -> tuple[str]:
        ctypes.memmove(target, source, nbytes)
        return (OK,)

    def cudaMemcpy2D(
        self, target: int, target_pitch: int, source: int, source_pitch: int, width: int, height: int, kind: int
    ) -> tuple[str]:
        for i in range(height):
            ctypes.memmove(target + i * target_pitch, source + i * source_pitch, width)
        return (OK,)

    def cudaEventCreate(self) -> tuple[str, int]:
        self.times[len(self.times)] = 0.0
        return OK, len(self.times) - 1

    def cudaEventRecord(self, event: int, stream: int) -> tuple[str]:
        self.now += 2.0
        self.times[event] = self.now
        return (OK,)

    def cudaEventSynchronize(self, event: int) -> tuple[str]:
        return (OK,)

    def cudaEventElapsedTime(self, first: int, last: int) -> tuple[str, float]:
        return OK, self.times[last] - self.times[first]

    def cudaStreamCreate(self) -> tuple[str, int]:
        return OK, 1

    def cudaStreamSynchronize(self, stream: int) -> tuple[str]:
        return (OK,)


def play_cuda(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """Let ``cuda.bindings`` have a runtime of this kind; modules that import it are to be imported anew."""
    bindings, runtime = ModuleType("cuda.bindings"), Runtime()
    vars(bindings)["runtime"] = runtime
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    monkeypatch.delitem(sys.modules, "compress.benchmarks.runtime.cuda", raising=False)
    return runtime
