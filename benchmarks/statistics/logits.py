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

    ``kls`` is the KL divergence of every predicted token. Of the original alone: ``entropy`` is that of its
    predictions, the loss that it expects, and ``uniform`` the loss of a guess that takes all tokens for equally likely.
    """

    nll: float
    kl: float
    top1: float
    kls: tuple[float, ...]
    entropy: float | None = None
    uniform: float | None = None

    @classmethod
    def of_original(cls, nll: float, entropy: float | None = None, uniform: float | None = None) -> WindowScore:
        """Score of the original, without divergence from itself."""
        return cls(nll, 0.0, 1.0, (0.0,), entropy, uniform)


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


def score_original(logits: NDArray[np.floating], ids: NDArray[np.int64]) -> WindowScore:
    """Score the original's logits ``[s, v]`` of a window on its tokens ``[s]``."""
    predicted = len(ids) - 1
    nll = entropy = 0.0
    for begin in range(0, predicted, _CHUNK):
        stop = min(begin + _CHUNK, predicted)
        logs = log_softmax(logits[begin:stop], np.float64)
        nll -= float(np.take_along_axis(logs, ids[begin + 1 : stop + 1, None], -1).sum())
        entropy -= float(np.einsum("ij,ij->", np.exp(logs), logs))
    return WindowScore.of_original(nll / predicted, entropy / predicted, math.log(logits.shape[-1]))


@dataclass(frozen=True)
class Cosines:
    """Cosine similarity of each sentence's embedding to the original's, and the same ``centered``.

    Centered: less the mean of the original's embeddings of the batch, which all of its sentences share; none of a
    single sentence. Of the original alone: ``alike`` is the mean cosine of its embeddings to that mean.
    """

    values: list[float]
    centered: tuple[float, ...] = ()
    alike: float | None = None

    @classmethod
    def of_original(cls, embeddings: NDArray[np.floating]) -> Cosines:
        """Those of the original's embeddings ``[n, d]`` to themselves."""
        count = len(embeddings)
        if count < 2:
            return cls([1.0] * count)
        center = embeddings.astype(np.float64).mean(0, keepdims=True)
        return cls([1.0] * count, (1.0,) * count, float(cosine(embeddings, center).mean()))


def compare_embeddings(reference: NDArray[np.floating], embeddings: NDArray[np.floating]) -> Cosines:
    """Compare a batch's embeddings ``[n, d]`` with the original's."""
    values: list[float] = cosine(embeddings, reference).tolist()
    if len(values) < 2:
        return Cosines(values)
    center = reference.astype(np.float64).mean(0, keepdims=True)
    return Cosines(values, tuple(cosine(embeddings - center, reference - center).tolist()))


def cosine(first: NDArray[np.floating], second: NDArray[np.floating]) -> Doubles:
    """Cosine similarity of two sets of vectors ``[n, d]``, pair by pair, in float64; 0 where one is the zero vector."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    similarity: Doubles = (a * b).sum(-1) / np.where(lengths > 0, lengths, 1.0)
    return similarity
