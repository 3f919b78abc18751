"""What every engine offers to a measurement. Engines are imported in the worker alone, each with its runtime only."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from compress.errors import RunError
from compress.modeling.kinds import DECODER, TaskKind

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]


class Engine(Protocol):
    """A loaded model. Decoders and encoder-decoders have `start`, `step` and `logits`; encoders `embed`; classifiers
    `classify`, and those of images `see`.
    """

    @property
    def read_bytes(self) -> int | None:
        """Weight bytes that decoding one token reads; None where the artifact's facts say it."""

    @property
    def token_bytes(self) -> int:
        """Bytes that one cached token takes (keys and values of all layers), after a `start`."""

    def start(self, prompt: Ids, room: int) -> int:
        """Read a prompt ``[s]``, keep its cache with room for so many more tokens; the greedy next token."""

    def step(self, token: int) -> int:
        """Append a token to the cache; the greedy next one."""

    def logits(self, ids: Ids) -> Floats:
        """Logits ``[s, vocabulary]`` of one window ``[s]``."""

    def embed(self, ids: Ids, mask: Ids) -> Floats:
        """Sentence embeddings ``[b, hidden]``, the last hidden states averaged over the mask; inputs ``[b, s]``."""

    def classify(self, ids: Ids, mask: Ids, kinds: Ids) -> Floats:
        """A classifier's logits, ``[b, labels]`` or ``[b, s, labels]``; ``kinds`` are token types ``[b, s]``."""

    def classify_images(self, pixels: Floats) -> Floats:
        """Logits ``[b, labels]`` of images ``[b, c, h, w]``."""


@runtime_checkable
class BatchedEngine(Protocol):
    """A decoder that reads several prompts of one length at once, and whose logits are there for the asking."""

    def begin(self, prompts: Ids, room: int) -> Floats:
        """Read prompts ``[b, s]`` into a fresh cache with room for so many more tokens; the next token's logits."""

    def append(self, tokens: Ids) -> Floats:
        """Append a token to every row ``[b]``; the next one's logits ``[b, vocabulary]``."""

    def reorder(self, rows: Ids) -> None:
        """Let the cache hold copies of these of its rows, ``[b']``, in their order: fewer, more, or some twice."""

    def release(self) -> None:
        """Forget the cache, and give back the memory that large batches took."""


@runtime_checkable
class DeviceEngine(Protocol):
    """An engine whose tensors lie in the memory of a device."""

    device: str


@runtime_checkable
class TimedEngine(Protocol):
    """An engine that has a clock of its own."""

    def clock(self) -> float:
        """Seconds since some moment, by which all that was asked for is done."""


Opener = Callable[[Path, TaskKind, int], Engine]


_ENGINES = {
    "torch": ("pytorch", "TorchEngine"),
    "hf": ("pytorch", "HfEngine"),
    "ort-cpu": ("ort", "OrtEngine"),
    "ort-cuda": ("ort_cuda", "OrtCudaEngine"),
    "tensorrt": ("tensorrt", "TensorrtEngine"),
    "genai": ("genai", "GenaiEngine"),
    "llama.cpp": ("llama_cpp", "LlamaCppEngine"),
}
"""Every engine's module and class."""
_OF_HALVES = {
    "torch": ("pytorch_seq2seq", "TorchSeq2SeqEngine"),
    "hf": ("pytorch_seq2seq", "HfSeq2SeqEngine"),
    "ort-cpu": ("ort_seq2seq", "OrtSeq2SeqEngine"),
}
"""Those of encoder-decoders."""


def opener(name: str, kind: TaskKind = DECODER) -> Opener:
    """What opens a model ``(path, kind, threads)`` in the engine of that name; its libraries are imported here."""
    engines = _OF_HALVES if kind.is_seq2seq else _ENGINES
    if name not in engines:
        raise RunError(f"no engine runs {name!r}; there are {', '.join(engines)}")
    module, cls = engines[name]
    found: Opener = getattr(import_module(f"compress.benchmarks.engines.{module}"), cls)
    return found


def mean_pooled(hidden: Floats, mask: Ids) -> Floats:
    """Average of ``[b, s, hidden]`` over the positions where the mask ``[b, s]`` is 1: ``[b, hidden]``."""
    weights = mask[..., None].astype(np.float32)
    pooled: Floats = (hidden * weights).sum(1) / np.maximum(weights.sum(1), 1.0)
    return pooled
