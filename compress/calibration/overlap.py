"""Overlap of evaluation data with calibration data, from a sketch that a manifest can hold."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compress.calibration.data import Calibration

_GRAM = 13
"""Tokens that make a passage: the length by which GPT-3's test sets were cleaned (arXiv 2005.14165, appendix C)."""
_KEPT = 2048
_LEAST = 8
"""Passages that both have, below which a share of all is chance: of a template's words, or of the sketch."""
_WINDOW, _TOTAL = 0.25, 0.02
"""Shares of a window's passages, and of those of all windows, from which on text counts as the same."""

Hashes = NDArray[np.uint32]


@dataclass(frozen=True)
class Overlap:
    """Overlap of windows with others: how many of them are there in large part, and the share of all passages."""

    windows: int
    of: int
    share: float

    def __bool__(self) -> bool:
        return self.windows > 0 or self.share >= _TOTAL


@dataclass(frozen=True)
class Sketch:
    """Sketch of windows: the smallest hashes of their passages of 13 tokens, or of images (bottom-k, Broder 1997).

    A passage counts once however often it comes, so that a template's words weigh little. ``hashes`` ascend.
    """

    hashes: Hashes

    @classmethod
    def of(cls, data: Calibration) -> Sketch:
        """The sketch of calibration data."""
        windows = _passages(data)
        return cls(np.unique(np.concatenate(windows))[:_KEPT])

    @classmethod
    def decode(cls, text: str) -> Sketch:
        """The sketch in a manifest; an empty one where it has none."""
        try:
            return cls(np.frombuffer(base64.b64decode(text, validate=True), dtype="<u4").astype(np.uint32))
        except (binascii.Error, ValueError):
            return cls(np.empty(0, dtype=np.uint32))

    def encode(self) -> str:
        """The sketch as text, up to eleven thousand characters."""
        return base64.b64encode(self.hashes.astype("<u4").tobytes()).decode()

    def overlap(self, data: Calibration) -> Overlap:
        """How much of other data this is a sketch of."""
        if not len(self.hashes):
            return Overlap(0, len(data.inputs), 0.0)
        largest = self.hashes[-1] if len(self.hashes) == _KEPT else np.uint32(0xFFFFFFFF)
        windows = [np.unique(hashes[hashes <= largest]) for hashes in _passages(data)]
        shared = [int(np.isin(hashes, self.hashes).sum()) for hashes in windows]
        same = [
            count > min(1, len(hashes) - 1) and count >= _WINDOW * len(hashes)
            for count, hashes in zip(shared, windows, strict=True)
            if len(hashes)
        ]
        every = np.unique(np.concatenate(windows))
        total = int(np.isin(every, self.hashes).sum())
        return Overlap(sum(same), len(data.inputs), total / len(every) if total >= _LEAST else 0.0)


def _passages(data: Calibration) -> list[Hashes]:
    """Hashes of the passages of each window, or of each image."""
    inputs = data.inputs.numpy()
    if inputs.ndim == 4:
        digests = [hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest() for image in inputs]
        return [np.frombuffer(digest[:4], dtype="<u4").astype(np.uint32) for digest in digests]
    tokens = inputs[:, data.prefix :].astype(np.uint64)
    if tokens.shape[1] < _GRAM:
        return [np.empty(0, dtype=np.uint32)] * len(tokens)
    hashes = np.zeros((len(tokens), tokens.shape[1] - _GRAM + 1), dtype=np.uint64)
    for place in range(_GRAM):
        hashes = hashes * np.uint64(0x100000001B3) + tokens[:, place : place + hashes.shape[1]] + np.uint64(1)
    return list((_mixed(hashes) >> np.uint64(32)).astype(np.uint32))


def _mixed(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit depends on every other: the finalizer of SplitMix64 (Steele et al., 2014)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))
