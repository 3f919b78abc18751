"""Copies and the clock of a device, with the CUDA runtime played by this process's own memory."""
# ruff: noqa: N802, N815 - the runtime's own names

import ctypes
import importlib
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from compress.errors import RunError

OK = "cudaSuccess"


class Runtime:
    """Addresses are the host's, and every event that is recorded comes 2 ms after the one before it."""

    cudaError_t = SimpleNamespace(cudaSuccess=OK)
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)

    def __init__(self):
        self.memory, self.freed, self.times, self.now = {}, [], {}, 0.0

    def cudaMalloc(self, nbytes):
        block = ctypes.create_string_buffer(nbytes)
        self.memory[ctypes.addressof(block)] = block
        return OK, ctypes.addressof(block)

    def cudaFree(self, pointer):
        self.freed.append(pointer)
        return (OK,)

    def cudaMemcpy(self, target, source, nbytes, kind):
        ctypes.memmove(target, source, nbytes)
        return (OK,)

    def cudaMemcpy2D(self, target, target_pitch, source, source_pitch, width, height, kind):
        for i in range(height):
            ctypes.memmove(target + i * target_pitch, source + i * source_pitch, width)
        return (OK,)

    def cudaEventCreate(self):
        self.times[len(self.times)] = 0.0
        return OK, len(self.times) - 1

    def cudaEventRecord(self, event, stream):
        self.now += 2.0
        self.times[event] = self.now
        return (OK,)

    def cudaEventSynchronize(self, event):
        return (OK,)

    def cudaEventElapsedTime(self, first, last):
        return OK, self.times[last] - self.times[first]


@pytest.fixture
def cuda(monkeypatch):
    """The module under test, bound to a runtime of its own."""
    bindings = ModuleType("cuda.bindings")
    bindings.runtime = Runtime()
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    name = "compress.benchmarks.runtime.cuda"
    monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module(name)
    sys.modules.pop(name, None)


def test_a_tensor_comes_back_whole_and_by_its_last_position(cuda):
    tensor = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float16)
    buffer = cuda.Buffer(tensor.nbytes)
    buffer.put(tensor.transpose(0, 1, 2)[:, ::-1])
    assert (cuda.fetch(buffer.pointer, tensor.shape, tensor.dtype) == tensor[:, ::-1]).all()
    assert (cuda.fetch_last(buffer.pointer, tensor.shape, tensor.dtype) == tensor[:, 0]).all()


def test_memory_is_given_back(cuda):
    buffer = cuda.Buffer(0)
    pointer = buffer.pointer
    del buffer
    assert cuda.runtime.freed == [pointer]


def test_the_clock_adds_up_what_lies_between_events(cuda):
    clock = cuda.Clock(0)
    assert [clock() for _ in range(3)] == pytest.approx([0.0, 0.002, 0.004])


def test_an_error_is_told_with_its_call(cuda):
    def cudaMalloc(nbytes):
        return SimpleNamespace(name="cudaErrorMemoryAllocation"), 0

    with pytest.raises(RunError, match="CUDA: cudaMalloc failed with cudaErrorMemoryAllocation"):
        cuda.cuda_call(cudaMalloc, 1)
