"""Sessions and key-value caches of ONNX Runtime."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from ml_dtypes import bfloat16

from compress.benchmarks.runtime.engine import Ids
from compress.onnx_names import CPU_PROVIDER, to_present

Dtype = np.dtype[np.generic]

DTYPES: Mapping[str, Dtype] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(bfloat16)": np.dtype(bfloat16),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(uint8)": np.dtype(np.uint8),
}
_BFLOAT16 = 16
"""onnx's number of it, for what numpy has no type of its own for"""


class Cache(ABC):
    """Keys and values of every layer, bound as a graph's past inputs and present outputs.

    Inputs are named ``past_key_values.{i}.key``, outputs ``present.{i}.key``; ``shapes`` are the graph's
    ``[batch, heads, past, head size]``. Outputs are bound after the logits, in the order of the inputs.
    """

    def __init__(
        self,
        binding: ort.IOBinding,
        names: list[str],
        shapes: list[list[int]],
        dtypes: list[Dtype],
        capacity: int,
        batch: int,
        device: str = "cpu",
    ) -> None:
        self.binding = binding
        self.length = 0
        self.names = names
        self.device = device
        self.token_bytes = sum(int(s[1] * s[3]) * d.itemsize for s, d in zip(shapes, dtypes, strict=True))
        initial = self._initial_capacity(capacity)
        sizes = [[batch, shape[1], initial, shape[3]] for shape in shapes]
        self.values = [empty(size, dtype, device) for size, dtype in zip(sizes, dtypes, strict=True)]

    @abstractmethod
    def _initial_capacity(self, capacity: int) -> int:
        """Number of tokens that there is room for from the start."""

    @abstractmethod
    def bind(self) -> None:
        """Bind the inputs and outputs of the next run."""

    def update(self, present: list[ort.OrtValue], length: int) -> None:
        """Store a run's present outputs: so many tokens."""
        self.length = length

    def reorder(self, rows: Ids) -> None:
        """Replace the rows by copies, as in `BatchedEngine.reorder`."""
        self.values = [self._picked(value, rows) for value in self.values]

    def _picked(self, value: ort.OrtValue, rows: Ids) -> ort.OrtValue:
        tokens = value.numpy()
        picked = np.empty((len(rows), *tokens.shape[1:]), tokens.dtype)
        for i, row in enumerate(rows):
            picked[i, :, : self.length] = tokens[row, :, : self.length]
        return ort.OrtValue.ortvalue_from_numpy(picked, self.device)


class SharedCache(Cache):
    """Cache with past and present in one buffer: a step appends and copies nothing."""

    _bound = False

    def _initial_capacity(self, capacity: int) -> int:
        return capacity

    def bind(self) -> None:
        """Bind every buffer as input and output, once until it changes."""
        if not self._bound:
            for name, value in zip(self.names, self.values, strict=True):
                self.binding.bind_ortvalue_input(name, value)
                self.binding.bind_ortvalue_output(to_present(name), value)
        self._bound = True

    def reorder(self, rows: Ids) -> None:
        """Copy rows into buffers of their own."""
        super().reorder(rows)
        self._bound = False


class GrowingCache(Cache):
    """Cache of new tensors from every run, which are the next one's inputs."""

    def _initial_capacity(self, capacity: int) -> int:
        return 0

    def bind(self) -> None:
        """Bind the last run's outputs as inputs."""
        for name, value in zip(self.names, self.values, strict=True):
            self.binding.bind_ortvalue_input(name, value)
            self.binding.bind_output(to_present(name), self.device)

    def update(self, present: list[ort.OrtValue], length: int) -> None:
        """Store a run's outputs as the next inputs."""
        super().update(present, length)
        self.values = present


def empty(shape: Sequence[int], dtype: Dtype, device: str) -> ort.OrtValue:
    """Allocate a tensor without initializing it."""
    element = _BFLOAT16 if dtype == bfloat16 else dtype.type
    return ort.OrtValue.ortvalue_from_shape_and_type(list(shape), element, device)


def new_session(
    file: Path, threads: int, providers: Sequence[str | tuple[str, dict[str, str]]] = (CPU_PROVIDER,)
) -> ort.InferenceSession:
    """Open a session for a graph, run by so many threads."""
    ort.disable_telemetry_events()  # `ORT_DISABLE_TELEMETRY` is set too, but Windows' events don't heed it
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(file), options, providers=list(providers))
