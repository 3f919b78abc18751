"""Copies and the clock of a device, with the CUDA runtime played by this process's own memory."""
# ruff: noqa: N802 - the runtime's own names

import importlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from compress.errors import RunError
from tests.support.cuda import play_cuda


@pytest.fixture
def cuda(monkeypatch):
    """The module under test, bound to a runtime of its own."""
    play_cuda(monkeypatch)
    yield importlib.import_module("compress.benchmarks.runtime.cuda")
    sys.modules.pop("compress.benchmarks.runtime.cuda", None)


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
