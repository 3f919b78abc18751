"""Perplexity, divergence and cosine from logits and embeddings, in plain numpy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
F = TypeVar("F", bound=np.floating)
_CHUNK = 64
"""Positions that are held in float64 at a time."""


@dataclass(frozen=True)
class WindowScore:
    """Score of one window: mean negative log-likelihood and KL divergence in nats, agreement in 0…1.

    ``kls`` is the KL divergence of every predicted token.
    """

    nll: float
    kl: float
    top1: float
    kls: tuple[float, ...]

    @classmethod
    def of_original(cls, nll: float) -> WindowScore:
        """Score of the original, without divergence from itself."""
        return cls(nll, 0.0, 1.0, (0.0,))


def log_softmax(logits: NDArray[np.floating], dtype: type[F]) -> NDArray[F]:
    """Logarithms of probabilities over the last axis, computed in ``dtype``.

    Scores are taken in float64; beam search adds float32 ones up, as transformers' does.
    """
    shifted = logits.astype(dtype)
    np.subtract(shifted, shifted.max(-1, keepdims=True), out=shifted)
    np.subtract(shifted, np.log(np.exp(shifted).sum(-1, keepdims=True)), out=shifted)
    return shifted


def compare_logits(
    reference: NDArray[np.floating], logits: NDArray[np.floating], ids: NDArray[np.int64]
) -> WindowScore:
    """Score a window's logits ``[s, v]`` on its tokens ``[s]`` and against the original's logits ``[s, v]``.

    Position i predicts token i + 1; the last one predicts nothing and is left out everywhere. KL is that of the
    original's distribution from the variant's, KL(original || variant).
    """
    if reference.shape != logits.shape:
        raise ValueError(f"logits {logits.shape} against the original's {reference.shape}")
    predicted = len(ids) - 1
    nll = agreed = 0.0
    kls: list[float] = []
    for begin in range(0, predicted, _CHUNK):
        rows = slice(begin, min(begin + _CHUNK, predicted))
        mine, original = (log_softmax(array[rows], np.float64) for array in (logits, reference))
        nll -= float(np.take_along_axis(mine, ids[rows.start + 1 : rows.stop + 1, None], -1).sum())
        agreed += int((mine.argmax(-1) == original.argmax(-1)).sum())
        mine -= original
        kls += np.maximum(-np.einsum("ij,ij->i", np.exp(original), mine), 0.0).tolist()
    return WindowScore(nll / predicted, math.fsum(kls) / predicted, agreed / predicted, tuple(kls))


def window_nll(logits: NDArray[np.floating], ids: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood of a window's tokens ``[s]`` in nats, from its logits ``[s, v]``."""
    predicted = len(ids) - 1
    total = 0.0
    for begin in range(0, predicted, _CHUNK):
        stop = min(begin + _CHUNK, predicted)
        logs = log_softmax(logits[begin:stop], np.float64)
        total -= float(np.take_along_axis(logs, ids[begin + 1 : stop + 1, None], -1).sum())
    return total / predicted


def cosine(first: NDArray[np.floating], second: NDArray[np.floating]) -> Doubles:
    """Cosine similarity of two sets of vectors ``[n, d]``, pair by pair, in float64; 0 where one is the zero vector."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    similarity: Doubles = (a * b).sum(-1) / np.where(lengths > 0, lengths, 1.0)
    return similarity
