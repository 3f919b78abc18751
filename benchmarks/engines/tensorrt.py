"""Engine ``tensorrt``: ``engine.plan``, its tensors in device memory, timed by CUDA events.

Source: TensorRT 11's Python API (``ICudaEngine``, ``IExecutionContext``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorrt as trt
from cuda.bindings import runtime
from ml_dtypes import bfloat16

from compress.benchmarks.runtime.cuda import Buffer, Clock, cuda_call, fetch, fetch_last
from compress.benchmarks.runtime.engine import BatchedDecoder, Floats, Ids, mean_pooled
from compress.errors import RunError
from compress.modeling.kinds import TaskKind
from compress.onnx_names import ENGINE_FILE, PAST_PREFIX, PRESENT_PREFIX, SENTENCE_OUTPUT, to_present

if TYPE_CHECKING:
    from compress.benchmarks.runtime.engine import (
        BatchedEngine,
        ClassifierEngine,
        DecoderEngine,
        DeviceEngine,
        EncoderEngine,
        Opener,
        TimedEngine,
    )

_PROMPT, _TOKEN = 0, 1
"""Optimization profiles, in the order in which they were built."""


class TensorrtEngine(BatchedDecoder):
    """Run a directory with ``engine.plan``; a run's present keys and values are the next one's past."""

    device = "cuda"

    def __init__(self, path: Path, kind: TaskKind, threads: int) -> None:
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        self._engine = self._runtime.deserialize_cuda_engine((path / ENGINE_FILE).read_bytes())
        if self._engine is None:
            raise RunError(
                f"{path / ENGINE_FILE} is for another GPU or another TensorRT; build.sh beside it makes it anew"
            )
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        modes = {name: self._engine.get_tensor_mode(name) for name in names}
        self._inputs = [name for name in names if modes[name] == trt.TensorIOMode.INPUT]
        self._outputs = [name for name in names if modes[name] == trt.TensorIOMode.OUTPUT]
        self._past = [name for name in self._inputs if name.startswith(PAST_PREFIX)]
        self._dtypes = {name: _dtype(self._engine.get_tensor_dtype(name)) for name in names}
        self._stream: int = int(cuda_call(runtime.cudaStreamCreate))
        self._contexts = [self._context(i) for i in range(self._engine.num_optimization_profiles)]
        self._buffers: dict[str, Buffer] = {}
        self._caches: list[dict[str, Buffer]] = []
        self._batch = self._length = 0
        self.clock = Clock(self._stream)

    def _context(self, profile: int) -> trt.IExecutionContext:
        context = self._engine.create_execution_context()
        if context is None:
            raise RunError("the device has too little memory for this engine")
        context.set_optimization_profile_async(profile, self._stream)
        cuda_call(runtime.cudaStreamSynchronize, self._stream)
        return context

    def read_bytes(self) -> int | None:
        """None: the artifact records it."""
        return None

    def token_bytes(self) -> int:
        """Bytes that one cached token takes."""
        return sum(self._token(name) for name in self._past)

    def _token(self, name: str) -> int:
        _, heads, _, size = self._engine.get_tensor_shape(name)
        return int(heads * size) * self._dtypes[name].itemsize

    def begin(self, prompts: Ids, max_new_tokens: int) -> Floats:
        """Read prompts into a fresh cache."""
        self._empty(len(prompts), prompts.shape[1] + max_new_tokens)
        return self._last(prompts)

    def append(self, tokens: Ids) -> Floats:
        """Append a token to every row."""
        if not self._caches:
            raise RunError("a step before the prompt")
        return self._last(tokens[:, None])

    def reorder(self, rows: Ids) -> None:
        """Copy rows of the cache."""
        for name, buffer in self._caches[0].items():
            buffer.put(fetch(buffer.pointer, self._cached(name), self._dtypes[name])[rows])
        self._batch = len(rows)

    def release(self) -> None:
        """Free the cache and all other buffers."""
        self._caches, self._buffers = [], {}

    def logits(self, ids: Ids) -> Floats:
        """Logits ``[s, vocabulary]`` of one window ``[s]``."""
        self._empty(1, len(ids))
        logits: Floats = self._fetch("logits", self._advance(ids[None]))[0]
        return logits

    def embed(self, ids: Ids, mask: Ids) -> Floats:
        """Sentence embeddings ``[b, hidden]``."""
        if SENTENCE_OUTPUT in self._dtypes:
            return self._encode(SENTENCE_OUTPUT, ids, mask, np.zeros_like(ids))
        return mean_pooled(self._encode("last_hidden_state", ids, mask, np.zeros_like(ids)), mask)

    def classify(self, ids: Ids, mask: Ids, token_types: Ids) -> Floats:
        """Class logits ``[b, labels]`` or ``[b, s, labels]``."""
        return self._encode("logits", ids, mask, token_types)

    def _encode(self, output: str, ids: Ids, mask: Ids, token_types: Ids) -> Floats:
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": token_types}
        return self._fetch(output, self._run(self._contexts[_PROMPT], feeds, output))

    def _empty(self, batch: int, capacity: int) -> None:
        """Reset to two empty caches of so many rows and tokens, in the present buffers if they are as large."""
        needed = {name: batch * capacity * self._token(name) for name in self._past}
        if [buffer.nbytes for cache in self._caches for buffer in cache.values()] != 2 * list(needed.values()):
            self._caches = []
            self._caches = [{name: Buffer(nbytes) for name, nbytes in needed.items()} for _ in range(2)]
        self._batch, self._length = batch, 0

    def _cached(self, name: str) -> tuple[int, ...]:
        _, heads, _, size = self._engine.get_tensor_shape(name)
        return (self._batch, int(heads), self._length, int(size))

    def _last(self, ids: Ids) -> Floats:
        shape = self._advance(ids)
        last = fetch_last(self._buffers["logits"].pointer, shape, self._dtypes["logits"])
        return last.astype(np.float32, copy=False)

    def _advance(self, ids: Ids) -> tuple[int, ...]:
        """Append tokens ``[b, s]``; the shape of the logits after each."""
        total = self._length + ids.shape[1]
        feeds = {
            "input_ids": ids,
            "attention_mask": np.ones((len(ids), total), np.int64),
            "position_ids": np.broadcast_to(np.arange(self._length, total, dtype=np.int64), ids.shape),
        }
        context = self._contexts[_TOKEN if self._length else _PROMPT]
        past, present = self._caches
        for name in self._past:
            self._bind(context, name, self._cached(name), past[name])
            context.set_tensor_address(to_present(name), present[name].pointer)
        shape = self._run(context, feeds, "logits")
        self._length = total
        self._caches.reverse()
        return shape

    def _run(self, context: trt.IExecutionContext, feeds: Mapping[str, Ids], output: str) -> tuple[int, ...]:
        """Run with these inputs besides the cache; the shape of an output, which lies in its buffer then."""
        for name in self._inputs:
            if name not in self._past:
                array = feeds[name].astype(self._dtypes[name])
                buffer = self._buffer(name, array.nbytes)
                buffer.put(array)
                self._bind(context, name, array.shape, buffer)
        shapes = {
            name: tuple(int(size) for size in context.get_tensor_shape(name))
            for name in self._outputs
            if not name.startswith(PRESENT_PREFIX)
        }
        for name, shape in shapes.items():
            nbytes = int(np.prod(shape)) * self._dtypes[name].itemsize
            context.set_tensor_address(name, self._buffer(name, nbytes).pointer)
        if not context.execute_async_v3(self._stream):
            raise RunError("TensorRT could not run the engine")
        cuda_call(runtime.cudaStreamSynchronize, self._stream)
        return shapes[output]

    def _bind(self, context: trt.IExecutionContext, name: str, shape: tuple[int, ...], buffer: Buffer) -> None:
        if not context.set_input_shape(name, shape):
            raise RunError(f"the engine was not built for {name} of shape {'x'.join(map(str, shape))}")
        context.set_tensor_address(name, buffer.pointer)

    def _buffer(self, name: str, nbytes: int) -> Buffer:
        """The buffer of an input or output, large enough."""
        if name not in self._buffers or self._buffers[name].nbytes < nbytes:
            self._buffers[name] = Buffer(nbytes)
        return self._buffers[name]

    def _fetch(self, name: str, shape: tuple[int, ...]) -> Floats:
        return fetch(self._buffers[name].pointer, shape, self._dtypes[name]).astype(np.float32, copy=False)


def _dtype(element: trt.DataType) -> np.dtype[np.generic]:
    dtype: np.dtype[np.generic] = np.dtype(bfloat16 if element == trt.DataType.BF16 else trt.nptype(element))
    return dtype


if TYPE_CHECKING:
    _decoder: Opener[DecoderEngine] = TensorrtEngine
    _batched: Opener[BatchedEngine] = TensorrtEngine
    _encoder: Opener[EncoderEngine] = TensorrtEngine
    _classifier: Opener[ClassifierEngine] = TensorrtEngine
    _on_device: Opener[DeviceEngine] = TensorrtEngine
    _timed: Opener[TimedEngine] = TensorrtEngine
