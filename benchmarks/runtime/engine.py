"""Protocols of engines, by what they can run.

Every engine is made of the directory to load, the kind of model and the number of threads (`Opener`). Which ones there
are is in `specs`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from compress.modeling.kinds import TaskKind

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
E_co = TypeVar("E_co", covariant=True)


class Opener(Protocol[E_co]):
    """Constructor of an engine, by directory, kind of model and number of threads."""

    def __call__(self, path: Path, kind: TaskKind, threads: int) -> E_co:
        """Load it; raises RunError, or MissingComponentError where the machine lacks what it takes."""


@runtime_checkable
class DecoderEngine(Protocol):
    """Engine that decodes token by token: a decoder, or an encoder-decoder, whose encoder reads the prompt."""

    def read_bytes(self) -> int | None:
        """Weight bytes that decoding one token reads; None where the artifact's facts say it."""

    def token_bytes(self) -> int:
        """Bytes that one cached token takes (keys and values of all layers), after a `start`."""

    def start(self, prompt: Ids, max_new_tokens: int) -> int:
        """Read a prompt ``[s]``, keep its cache with capacity for so many more tokens; the greedy next token."""

    def step(self, token: int) -> int:
        """Append a token to the cache; the greedy next one. Raises RunError before a `start`."""

    def logits(self, ids: Ids) -> Floats:
        """Logits ``[s, vocabulary]`` of one window ``[s]``."""


@runtime_checkable
class BatchedEngine(Protocol):
    """Decoder engine that runs batches of prompts of one length and returns logits."""

    def begin(self, prompts: Ids, max_new_tokens: int) -> Floats:
        """Read prompts ``[b, s]`` into a fresh cache with capacity for so many more tokens; the next token's logits."""

    def append(self, tokens: Ids) -> Floats:
        """Append a token to every row ``[b]``; the next one's logits ``[b, vocabulary]``."""

    def reorder(self, rows: Ids) -> None:
        """Replace the cache's rows by copies of these ``[b']``: fewer, more, or some twice."""

    def release(self) -> None:
        """Release the cache, and the memory of large batches."""


@runtime_checkable
class EncoderEngine(Protocol):
    """Engine that embeds sentences."""

    def embed(self, ids: Ids, mask: Ids) -> Floats:
        """Embeddings ``[b, hidden]``: the last hidden states averaged over the mask; inputs are ``[b, s]``."""


@runtime_checkable
class ClassifierEngine(Protocol):
    """Engine that classifies texts or tokens."""

    def classify(self, ids: Ids, mask: Ids, token_types: Ids) -> Floats:
        """Logits ``[b, labels]`` or ``[b, s, labels]``; inputs are ``[b, s]``."""


@runtime_checkable
class ImageEngine(Protocol):
    """Engine that classifies images."""

    def classify_images(self, pixels: Floats) -> Floats:
        """Logits ``[b, labels]`` of images ``[b, c, h, w]``."""


@runtime_checkable
class DeviceEngine(Protocol):
    """Engine with a device attribute: ``cpu``, or where its tensors are."""

    device: str


@runtime_checkable
class TimedEngine(Protocol):
    """Engine with a clock of its own."""

    def clock(self) -> float:
        """Seconds since some moment, once all queued work is done."""


class BatchedDecoder(ABC):
    """Base of batched decoders: `start` and `step` as a batch of one."""

    @abstractmethod
    def begin(self, prompts: Ids, max_new_tokens: int) -> Floats:
        """As `BatchedEngine.begin`."""

    @abstractmethod
    def append(self, tokens: Ids) -> Floats:
        """As `BatchedEngine.append`."""

    def start(self, prompt: Ids, max_new_tokens: int) -> int:
        """Read a prompt into a fresh cache."""
        return int(self.begin(prompt[None], max_new_tokens)[0].argmax())

    def step(self, token: int) -> int:
        """Append a token; the greedy next one."""
        return int(self.append(np.array([token], dtype=np.int64))[0].argmax())


def mean_pooled(hidden: Floats, mask: Ids) -> Floats:
    """Average of ``[b, s, hidden]`` over the positions where the mask ``[b, s]`` is 1: ``[b, hidden]``."""
    weights = mask[..., None].astype(np.float32)
    pooled: Floats = (hidden * weights).sum(1) / np.maximum(weights.sum(1), 1.0)
    return pooled
