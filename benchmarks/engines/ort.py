"""ONNX Runtime, with IO binding. Nothing here imports torch: the serving process is measured as deployed."""

from __future__ import annotations

import mmap
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from ml_dtypes import bfloat16
from numpy.typing import NDArray

from compress.benchmarks.runtime.engine import Floats, Ids, mean_pooled
from compress.errors import RunError
from compress.modeling.kinds import TaskKind

Dtype = np.dtype[Any]

DTYPES: Mapping[str, Dtype] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(bfloat16)": np.dtype(bfloat16),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(uint8)": np.dtype(np.uint8),
}
_SHARING_OPERATOR = b"GroupQueryAttention"
_BFLOAT16 = 16
"""onnx's number of it, for what numpy has no type of its own for"""
_SHRINK = "memory.enable_memory_arena_shrinkage"


class OrtEngine:
    """A directory with ``model.onnx``. Its attention writes into one preallocated cache where the operator can."""

    read_bytes: int | None = None
    device = "cpu"
    _arena = "cpu:0"

    def __init__(self, path: Path, kind: TaskKind, threads: int) -> None:
        file = path / "model.onnx"
        self._session = self._open(file, threads)
        self._inputs = {each.name: each for each in self._session.get_inputs()}
        self._past = [name for name in self._inputs if name.startswith("past_key_values.")]
        self._shares = bool(self._past) and _mentions(file, _SHARING_OPERATOR)
        self._cache: Cache | None = None

    def _open(self, file: Path, threads: int) -> ort.InferenceSession:
        return session(file, threads)

    @property
    def token_bytes(self) -> int:
        """Bytes that one cached token takes."""
        return 0 if self._cache is None else self._cache.token_bytes

    def start(self, prompt: Ids, room: int) -> int:
        """Read a prompt into a fresh cache."""
        return int(self.begin(prompt[None], room)[0].argmax())

    def step(self, token: int) -> int:
        """Append a token; the greedy next one."""
        return int(self.append(np.array([token], dtype=np.int64))[0].argmax())

    def begin(self, prompts: Ids, room: int) -> Floats:
        """Read prompts into a fresh cache."""
        self._cache = self._new_cache(prompts.shape[1] + room, len(prompts))
        return self._last(prompts, self._cache)

    def append(self, tokens: Ids) -> Floats:
        """Append a token to every row."""
        return self._last(tokens[:, None], self._begun)

    def reorder(self, rows: Ids) -> None:
        """Copy rows of the cache."""
        self._begun.reorder(rows)

    def release(self) -> None:
        """Forget the cache, and let the session's arena shrink to what it holds: it keeps what its largest run took."""
        self._cache = None
        shrinking = self._options()
        shrinking.add_run_config_entry(_SHRINK, self._arena)
        self._advance(np.zeros((1, 1), dtype=np.int64), self._new_cache(1), shrinking)

    def logits(self, ids: Ids) -> Floats:
        """Logits of one window."""
        logits = self._advance(ids[None], self._new_cache(len(ids)))
        found: Floats = self._fetch(logits)[0]
        return found

    def embed(self, ids: Ids, mask: Ids) -> Floats:
        """Sentence embeddings."""
        return mean_pooled(self._run("last_hidden_state", _text(ids, mask, np.zeros_like(ids))), mask)

    def classify(self, ids: Ids, mask: Ids, kinds: Ids) -> Floats:
        """Logits of classes."""
        return self._run("logits", _text(ids, mask, kinds))

    def classify_images(self, pixels: Floats) -> Floats:
        """Logits of images."""
        return self._run("logits", {"pixel_values": pixels})

    def _run(self, output: str, feeds: Mapping[str, Ids | Floats]) -> Floats:
        binding = self._session.io_binding()
        self._feed(binding, feeds)
        binding.bind_output(output, self.device)
        self._session.run_with_iobinding(binding, self._options())
        return self._fetch(binding.get_outputs()[0])

    def _fetch(self, value: ort.OrtValue) -> Floats:
        """A tensor in float32."""
        found: Floats = np.from_dlpack(value).astype(np.float32, copy=False)
        return found

    def _fetch_last(self, logits: ort.OrtValue) -> Floats:
        """``[b, s, vocabulary]``, of which every row's last are wanted: ``[b, vocabulary]``."""
        found: Floats = np.from_dlpack(logits)[:, -1].astype(np.float32, copy=False)
        return found

    def _options(self) -> ort.RunOptions:
        return ort.RunOptions()

    @property
    def _begun(self) -> Cache:
        if self._cache is None:
            raise RunError("a step before the prompt")
        return self._cache

    def _new_cache(self, capacity: int, batch: int = 1) -> Cache:
        kind: type[Cache] = SharedCache if self._shares else GrowingCache
        shapes = [self._inputs[name].shape for name in self._past]
        dtypes = [self._dtype(name) for name in self._past]
        return kind(self._session.io_binding(), self._past, shapes, dtypes, capacity, batch, self.device)

    def _feed(self, binding: ort.IOBinding, feeds: Mapping[str, Ids | Floats]) -> None:
        for name, array in feeds.items():
            if name in self._inputs:
                binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(self._as_asked(name, array)))

    def _as_asked(self, name: str, array: Ids | Floats) -> NDArray[Any]:
        """An input in the type of the graph's."""
        return np.ascontiguousarray(array, self._dtype(name))

    def _dtype(self, name: str) -> Dtype:
        return DTYPES.get(self._inputs[name].type, np.dtype(np.int64))

    def _last(self, ids: Ids, cache: Cache) -> Floats:
        return self._fetch_last(self._advance(ids, cache))

    def _advance(self, ids: Ids, cache: Cache, options: ort.RunOptions | None = None) -> ort.OrtValue:
        """Append tokens ``[b, s]``; the logits ``[b, s, vocabulary]`` after each."""
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
        cache.take(outputs[1:], total)
        return outputs[0]


def _text(ids: Ids, mask: Ids, kinds: Ids) -> dict[str, Ids]:
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": kinds}


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
        room = self._room(capacity)
        self.values = [
            empty([batch, shape[1], room, shape[3]], dtype, device) for shape, dtype in zip(shapes, dtypes, strict=True)
        ]

    @abstractmethod
    def _room(self, capacity: int) -> int:
        """How many tokens there is room for from the start."""

    @abstractmethod
    def bind(self) -> None:
        """Bind the inputs and outputs of the next run."""

    def take(self, present: list[ort.OrtValue], length: int) -> None:
        """Keep what a run left behind; the cache now holds so many tokens."""
        self.length = length

    def reorder(self, rows: Ids) -> None:
        """Hold copies of these rows, as `BatchedEngine.reorder` says."""
        self.values = [self._picked(value, rows) for value in self.values]

    def _picked(self, value: ort.OrtValue, rows: Ids) -> ort.OrtValue:
        held = value.numpy()
        picked = np.empty((len(rows), *held.shape[1:]), held.dtype)
        for i, row in enumerate(rows):
            picked[i, :, : self.length] = held[row, :, : self.length]
        return ort.OrtValue.ortvalue_from_numpy(picked, self.device)

    @staticmethod
    def present(name: str) -> str:
        """The output that follows on a past input."""
        return name.replace("past_key_values.", "present.", 1)


class SharedCache(Cache):
    """Past and present are one buffer: a step appends to it and copies nothing."""

    _bound = False

    def _room(self, capacity: int) -> int:
        return capacity

    def bind(self) -> None:
        """Bind every buffer twice, once for all runs until it is another."""
        if not self._bound:
            for name, value in zip(self.names, self.values, strict=True):
                self.binding.bind_ortvalue_input(name, value)
                self.binding.bind_ortvalue_output(self.present(name), value)
        self._bound = True

    def reorder(self, rows: Ids) -> None:
        """Copy rows into buffers of their own."""
        super().reorder(rows)
        self._bound = False


class GrowingCache(Cache):
    """Every run makes new tensors, one token longer, which are the next one's inputs."""

    def _room(self, capacity: int) -> int:
        return 0

    def bind(self) -> None:
        """Bind the last run's outputs as inputs."""
        for name, value in zip(self.names, self.values, strict=True):
            self.binding.bind_ortvalue_input(name, value)
            self.binding.bind_output(self.present(name), self.device)

    def take(self, present: list[ort.OrtValue], length: int) -> None:
        """Keep a run's outputs."""
        super().take(present, length)
        self.values = present


def empty(shape: Sequence[int], dtype: Dtype, device: str) -> ort.OrtValue:
    """A tensor of whatever lies there."""
    kind = _BFLOAT16 if dtype == bfloat16 else dtype.type
    return ort.OrtValue.ortvalue_from_shape_and_type(list(shape), kind, device)


def session(
    file: Path, threads: int, providers: Sequence[str | tuple[str, dict[str, str]]] = ("CPUExecutionProvider",)
) -> ort.InferenceSession:
    """A graph, loaded to be run by so many threads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(file), options, providers=list(providers))


def _mentions(file: Path, word: bytes) -> bool:
    """Whether the graph has such an operator: a session doesn't list its nodes, and reading the graph needs onnx."""
    with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return view.find(word) >= 0
