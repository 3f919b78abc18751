"""Engine ``ort-cuda``: ONNX Runtime on an NVIDIA GPU, with CUDA graphs for repeated shapes.

Sources: onnxruntime's CUDA execution provider, "Using CUDA Graphs"; onnxruntime-genai, whose attention masks have the
length of the whole cache too, so that a step's shapes don't change from token to token.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort
from ml_dtypes import bfloat16
from numpy.typing import NDArray

from compress.benchmarks.engines.ort_cpu import OrtCpuEngine
from compress.benchmarks.runtime.engine import Floats, Ids
from compress.benchmarks.runtime.ort import DTYPES, Cache, Dtype, empty, new_session
from compress.errors import MissingComponentError
from compress.modeling.kinds import TaskKind
from compress.onnx_names import CPU_PROVIDER, CUDA_PROVIDER, to_present

if TYPE_CHECKING:
    from compress.benchmarks.runtime.engine import BatchedEngine, DecoderEngine, DeviceEngine, Opener

_GRAPH = "gpu_graph_id"
_NONE = "-1"


class OrtCudaEngine(OrtCpuEngine):
    """Run a directory with ``model.onnx`` in 16 bits, with all tensors on the device.

    Where every operator of the graph runs on the GPU, single tokens (on a cache that is one buffer) and batches of a
    shape that comes twice are launched as CUDA graphs. Raises MissingComponentError where there is no such GPU.
    """

    device = "cuda"
    _arena = "gpu:0"

    def __init__(self, path: Path, kind: TaskKind, threads: int) -> None:
        super().__init__(path, kind, threads)
        self._recorded: dict[tuple[int, ...], RecordedRun] = {}
        self._graphs = 0
        self._before: tuple[int, ...] | None = None
        self._step: RecordedRun | None = None

    def _open(self, file: Path, threads: int) -> ort.InferenceSession:
        if CUDA_PROVIDER not in ort.get_available_providers():
            raise MissingComponentError("onnxruntime has no CUDA provider here: pip install 'compress-models[gpu]'")
        ort.preload_dlls()
        self._records = True
        try:
            return _on_gpu(file, threads, {"enable_cuda_graph": "1"})
        except MissingComponentError:
            raise
        except Exception:  # onnxruntime's own: an operator of the graph runs on the CPU
            self._records = False
            return _on_gpu(file, threads, {})

    def begin(self, prompts: Ids, max_new_tokens: int) -> Floats:
        """Read prompts into a fresh cache, or into the buffers of the last one where they are as large."""
        batch, capacity = len(prompts), prompts.shape[1] + max_new_tokens
        self._step = None
        if max_new_tokens == 0:  # nothing follows: what was recorded is for those that something follows
            return super().begin(prompts, max_new_tokens)
        recorded = self._recorded.get((batch, capacity))
        if recorded is None or recorded.cache is None:
            self._cache = self._new_cache(capacity, batch)
            if self._records and self._shares:
                self._recorded.clear()  # one cache at a time
                self._step = self._record((batch, 1), {"attention_mask": (batch, capacity)}, "logits", self._cache)
                self._step.capacity = capacity
                self._recorded[batch, capacity] = self._step
        else:
            self._step, self._cache = recorded, recorded.cache
            self._cache.length = 0
        return self._last(prompts, self._cache)

    def append(self, tokens: Ids) -> Floats:
        """Append a token to every row."""
        if self._step is None:
            return super().append(tokens)
        cache, mask = self._begun, np.zeros((len(tokens), self._step.capacity), np.int64)
        mask[:, : cache.length + 1] = 1
        positions = np.full((len(tokens), 1), cache.length, np.int64)
        feeds = {"input_ids": tokens[:, None], "attention_mask": mask, "position_ids": positions}
        cache.length += 1
        return self._fetch_last(self._step.run(self._session, self._typed(feeds)))

    def reorder(self, rows: Ids) -> None:
        """Copy rows of the cache, which then lies elsewhere."""
        self._step = None
        self._recorded.clear()
        super().reorder(rows)

    def release(self) -> None:
        """Release the cache and all CUDA graphs."""
        self._step = None
        self._recorded.clear()
        super().release()

    def _run(self, output: str, feeds: Mapping[str, Ids | Floats]) -> Floats:
        shape = next(iter(feeds.values())).shape
        again, self._before = self._before == shape, shape
        if not (self._records and again):
            return super()._run(output, feeds)
        if shape not in self._recorded:
            self._recorded = {shape: self._record(shape, {}, output, None)}
        return self._fetch(self._recorded[shape].run(self._session, self._typed(feeds)))

    def _typed(self, feeds: Mapping[str, Ids | Floats]) -> dict[str, NDArray[np.generic]]:
        return {name: self._in_graph_type(name, array) for name, array in feeds.items() if name in self._inputs}

    def _record(
        self, shape: tuple[int, ...], others: Mapping[str, tuple[int, ...]], output: str, cache: Cache | None
    ) -> RecordedRun:
        """Record a run of inputs of one shape, apart from ``others``, in fixed buffers."""
        declared = next(value for value in self._session.get_outputs() if value.name == output)
        names = [name for name in self._inputs if name not in self._past]
        inputs = {name: empty(others.get(name, shape), self._dtype(name), self.device) for name in names}
        out = empty([*shape[: len(declared.shape) - 1], declared.shape[-1]], DTYPES[declared.type], self.device)
        self._graphs += 1
        return RecordedRun(self._session.io_binding(), inputs, output, out, cache, self._graphs)

    def _options(self) -> ort.RunOptions:
        return numbered(_NONE)

    def _fetch(self, value: ort.OrtValue) -> Floats:
        from compress.benchmarks.runtime.cuda import fetch  # here: its tests run without CUDA

        return fetch(value.data_ptr(), value.shape(), _dtype(value)).astype(np.float32, copy=False)

    def _fetch_last(self, logits: ort.OrtValue) -> Floats:
        from compress.benchmarks.runtime.cuda import fetch_last

        return fetch_last(logits.data_ptr(), logits.shape(), _dtype(logits)).astype(np.float32, copy=False)


class RecordedRun:
    """A CUDA graph: runs of one shape in fixed buffers, recorded once and launched together.

    ``cache``, whose buffers are bound as well, is that of the step that it is.
    """

    capacity = 0
    """Tokens that the cache has room for."""

    def __init__(
        self,
        binding: ort.IOBinding,
        inputs: Mapping[str, ort.OrtValue],
        output: str,
        out: ort.OrtValue,
        cache: Cache | None,
        number: int,
    ) -> None:
        self.cache = cache
        self._binding = binding
        self._out = out
        self._options = numbered(str(number))
        self._inputs = inputs
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        binding.bind_ortvalue_output(output, out)
        if cache is not None:
            for name, value in zip(cache.names, cache.values, strict=True):
                binding.bind_ortvalue_input(name, value)
                binding.bind_ortvalue_output(to_present(name), value)

    def run(self, session: ort.InferenceSession, feeds: Mapping[str, NDArray[np.generic]]) -> ort.OrtValue:
        """The output for new inputs; the next run writes over it."""
        for name, value in self._inputs.items():
            value.update_inplace(feeds[name])
        session.run_with_iobinding(self._binding, self._options)
        return self._out


def numbered(number: str) -> ort.RunOptions:
    """Run options that select the CUDA graph of a number."""
    options = ort.RunOptions()
    options.add_run_config_entry(_GRAPH, number)
    return options


def _on_gpu(file: Path, threads: int, options: dict[str, str]) -> ort.InferenceSession:
    opened = new_session(file, threads, [(CUDA_PROVIDER, options), CPU_PROVIDER])
    if CUDA_PROVIDER not in opened.get_providers():  # without the libraries of CUDA it would run on the CPU instead
        raise MissingComponentError("onnxruntime can't load the libraries of CUDA that its provider needs")
    return opened


def _dtype(value: ort.OrtValue) -> Dtype:
    return np.dtype(bfloat16) if "bfloat16" in value.data_type() else DTYPES[value.data_type()]


if TYPE_CHECKING:
    _decoder: Opener[DecoderEngine] = OrtCudaEngine
    _batched: Opener[BatchedEngine] = OrtCudaEngine
    _on_device: Opener[DeviceEngine] = OrtCudaEngine
