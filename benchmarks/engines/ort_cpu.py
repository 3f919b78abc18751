"""Engine ``ort-cpu``: ONNX Runtime with IO binding, without torch, as deployed."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from compress.benchmarks.runtime.engine import BatchedDecoder, Floats, Ids, mean_pooled
from compress.benchmarks.runtime.ort import DTYPES, Cache, Dtype, GrowingCache, SharedCache, new_session
from compress.errors import RunError
from compress.modeling.kinds import TaskKind
from compress.onnx_names import LAST_TOKEN_FILE, MODEL_FILE, PAST_PREFIX, SENTENCE_OUTPUT

if TYPE_CHECKING:
    from compress.benchmarks.runtime.engine import (
        BatchedEngine,
        ClassifierEngine,
        DecoderEngine,
        DeviceEngine,
        EncoderEngine,
        ImageEngine,
        Opener,
    )

_SHARING_OPERATOR = b"GroupQueryAttention"
_SHRINK = "memory.enable_memory_arena_shrinkage"


class OrtCpuEngine(BatchedDecoder):
    """Run a directory with ``model.onnx``; attention writes into one preallocated cache where the operator can.

    A decoder generates with the graph of the last token's logits, where there is one. One of the two is loaded at a
    time: the other takes its place, and the cache with it, when it is needed.
    """

    device = "cpu"
    _arena = "cpu:0"

    def __init__(self, path: Path, kind: TaskKind, threads: int) -> None:
        self._path, self._threads = path, threads
        self._generating = LAST_TOKEN_FILE if (path / LAST_TOKEN_FILE).exists() else MODEL_FILE
        self._load(self._generating)
        self._inputs = {value.name: value for value in self._session.get_inputs()}
        self._past = [name for name in self._inputs if name.startswith(PAST_PREFIX)]
        self._shares = bool(self._past) and _mentions(path / MODEL_FILE, _SHARING_OPERATOR)
        self._embeds = any(value.name == SENTENCE_OUTPUT for value in self._session.get_outputs())
        self._cache: Cache | None = None
        self._token_bytes = 0

    def _load(self, name: str) -> None:
        self._session = self._open(self._path / name, self._threads)
        self._loaded = name

    def _change_to(self, name: str) -> None:
        """Load another graph in place of the one that is loaded, and of its cache."""
        if name != self._loaded:
            self._cache = None
            del self._session
            self._load(name)

    def _open(self, file: Path, threads: int) -> ort.InferenceSession:
        return new_session(file, threads)

    def read_bytes(self) -> int | None:
        """None: the artifact records it."""
        return None

    def token_bytes(self) -> int:
        """Bytes that one cached token takes."""
        return self._token_bytes

    def begin(self, prompts: Ids, max_new_tokens: int) -> Floats:
        """Read prompts into a fresh cache."""
        self._change_to(self._generating)
        self._cache = self._new_cache(prompts.shape[1] + max_new_tokens, len(prompts))
        return self._last(prompts, self._cache)

    def append(self, tokens: Ids) -> Floats:
        """Append a token to every row."""
        return self._last(tokens[:, None], self._begun)

    def reorder(self, rows: Ids) -> None:
        """Copy rows of the cache."""
        self._begun.reorder(rows)

    def release(self) -> None:
        """Release the cache, and shrink the session's arena, which keeps what its largest run took."""
        self._cache = None
        shrinking = self._options()
        shrinking.add_run_config_entry(_SHRINK, self._arena)
        self._advance(np.zeros((1, 1), dtype=np.int64), self._new_cache(1), shrinking)

    def logits(self, ids: Ids) -> Floats:
        """Logits ``[s, vocabulary]`` of one window ``[s]``."""
        self._change_to(MODEL_FILE)
        logits: Floats = self._fetch(self._advance(ids[None], self._new_cache(len(ids))))[0]
        return logits

    def embed(self, ids: Ids, mask: Ids) -> Floats:
        """Sentence embeddings ``[b, hidden]``."""
        text = _text(ids, mask, np.zeros_like(ids))
        if self._embeds:
            return self._run(SENTENCE_OUTPUT, text)
        return mean_pooled(self._run("last_hidden_state", text), mask)

    def classify(self, ids: Ids, mask: Ids, token_types: Ids) -> Floats:
        """Class logits ``[b, labels]`` or ``[b, s, labels]``."""
        return self._run("logits", _text(ids, mask, token_types))

    def classify_images(self, pixels: Floats) -> Floats:
        """Class logits ``[b, labels]`` of images."""
        return self._run("logits", {"pixel_values": pixels})

    def _run(self, output: str, feeds: Mapping[str, Ids | Floats]) -> Floats:
        binding = self._session.io_binding()
        self._feed(binding, feeds)
        binding.bind_output(output, self.device)
        self._session.run_with_iobinding(binding, self._options())
        return self._fetch(binding.get_outputs()[0])

    def _fetch(self, value: ort.OrtValue) -> Floats:
        """A tensor in float32."""
        array: Floats = np.from_dlpack(value).astype(np.float32, copy=False)
        return array

    def _fetch_last(self, logits: ort.OrtValue) -> Floats:
        """The last position of logits ``[b, s, vocabulary]`` in float32: ``[b, vocabulary]``."""
        last: Floats = np.from_dlpack(logits)[:, -1].astype(np.float32, copy=False)
        return last

    def _options(self) -> ort.RunOptions:
        return ort.RunOptions()

    @property
    def _begun(self) -> Cache:
        if self._cache is None:
            raise RunError("a step before the prompt")
        return self._cache

    def _new_cache(self, capacity: int, batch: int = 1) -> Cache:
        cache_class: type[Cache] = SharedCache if self._shares else GrowingCache
        shapes = [self._inputs[name].shape for name in self._past]
        dtypes = [self._dtype(name) for name in self._past]
        binding = self._session.io_binding()
        cache = cache_class(binding, self._past, shapes, dtypes, capacity, batch, self.device)
        self._token_bytes = cache.token_bytes
        return cache

    def _feed(self, binding: ort.IOBinding, feeds: Mapping[str, Ids | Floats]) -> None:
        for name, array in feeds.items():
            if name in self._inputs:
                binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(self._in_graph_type(name, array)))

    def _in_graph_type(self, name: str, array: Ids | Floats) -> NDArray[np.generic]:
        """An input in the type that the graph declares for it."""
        return np.ascontiguousarray(array, self._dtype(name))

    def _dtype(self, name: str) -> Dtype:
        return DTYPES.get(self._inputs[name].type, np.dtype(np.int64))

    def _last(self, ids: Ids, cache: Cache) -> Floats:
        return self._fetch_last(self._advance(ids, cache))

    def _advance(self, ids: Ids, cache: Cache, options: ort.RunOptions | None = None) -> ort.OrtValue:
        """Append tokens ``[b, s]``; the logits ``[b, s, vocabulary]`` after each, or ``[b, 1, …]`` after the last."""
        past, total = cache.length, cache.length + ids.shape[1]
        feeds = {
            "input_ids": ids,
            "attention_mask": np.ones((len(ids), total), np.int64),
            "position_ids": np.broadcast_to(np.arange(past, total, dtype=np.int64), ids.shape),
        }
        self._feed(cache.binding, feeds)
        cache.binding.bind_output("logits", self.device)
        cache.bind()
        self._session.run_with_iobinding(cache.binding, options or self._options())
        outputs = cache.binding.get_outputs()
        cache.update(outputs[1:], total)
        return outputs[0]


def _text(ids: Ids, mask: Ids, token_types: Ids) -> dict[str, Ids]:
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": token_types}


def _mentions(file: Path, word: bytes) -> bool:
    """Whether the graph has such an operator: a session doesn't list its nodes, and reading the graph needs onnx."""
    with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return view.find(word) >= 0


if TYPE_CHECKING:
    _decoder: Opener[DecoderEngine] = OrtCpuEngine
    _batched: Opener[BatchedEngine] = OrtCpuEngine
    _encoder: Opener[EncoderEngine] = OrtCpuEngine
    _classifier: Opener[ClassifierEngine] = OrtCpuEngine
    _images: Opener[ImageEngine] = OrtCpuEngine
    _on_device: Opener[DeviceEngine] = OrtCpuEngine
