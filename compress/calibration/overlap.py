"""Overlap of evaluation data with calibration data, from a sketch that a manifest can hold."""

from __future__ import annotations

import base64
import binascii
import hashlib
import unicodedata
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from compress.calibration.data import Calibration

_LETTERS = 50
"""Letters and digits that make a passage of text, blanks, punctuation and case aside (GPT-4, arXiv 2303.08774, C)."""
_TOKENS = 13
"""Tokens that make one where no text is known (GPT-3, arXiv 2005.14165, C)."""
_SKETCH_SIZE = 2048
"""Hashes in a sketch: eleven thousand characters of a manifest."""
_LEAST_SHARED = 8
"""Passages that both have, below which a share of all is chance: of a template's words, or of the sketch."""
_WINDOW, _TOTAL, _CALIBRATED = 0.25, 0.02, 0.1
"""Shares of a window's passages, of those of all windows, and of the calibration's, from which on text is the same."""

Hashes = NDArray[np.uint32]


@dataclass(frozen=True)
class Overlap:
    """Overlap of windows with calibration windows.

    ``windows`` of them, ``of`` all, are there in large part; ``share`` is that of all of their passages,
    ``calibrated`` that of the calibration's which are among them.
    """

    windows: int
    of: int
    share: float
    calibrated: float = 0.0

    def __bool__(self) -> bool:
        return self.windows > 0 or self.share >= _TOTAL or self.calibrated >= _CALIBRATED

    def described(self, unit: str) -> str:
        """How much it is, for an error: by windows where whole ones are the same."""
        if self.windows:
            return f"{self.windows} of {self.of} {unit}"
        return f"{self.share:.0%} of it" if self.share >= _TOTAL else f"{self.calibrated:.0%} of the calibration's text"


@dataclass(frozen=True)
class Sketch:
    """Sketch of windows: the smallest hashes of their passages, or of images (bottom-k, Broder 1997).

    A passage is 50 letters, whatever stands between them, or 13 tokens where only these are known. It counts once
    however often it comes, so that a template's words weigh little. ``hashes`` ascend.
    """

    hashes: Hashes

    @classmethod
    def of(cls, data: Calibration) -> Sketch:
        """The sketch of calibration data."""
        return cls(np.unique(np.concatenate(_passages(data)))[:_SKETCH_SIZE])

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
        """How much of other data this is a sketch of; of tokens, if not of the text that they are known to say."""
        if not len(self.hashes):
            return Overlap(0, len(data.inputs), 0.0)
        overlap = self._overlap(_passages(data))
        return self._overlap(_passages(replace(data, texts=()))) if data.texts and not overlap else overlap

    def _overlap(self, passages: list[Hashes]) -> Overlap:
        largest = self.hashes[-1] if len(self.hashes) == _SKETCH_SIZE else np.uint32(0xFFFFFFFF)
        windows = [np.unique(hashes[hashes <= largest]) for hashes in passages]
        shared = [int(np.isin(hashes, self.hashes).sum()) for hashes in windows]
        same = [
            count > min(1, len(hashes) - 1) and count >= _WINDOW * len(hashes)
            for count, hashes in zip(shared, windows, strict=True)
            if len(hashes)
        ]
        every = np.unique(np.concatenate(windows))
        total = int(np.isin(every, self.hashes).sum())
        shares = (total / len(every), total / len(self.hashes)) if total >= _LEAST_SHARED else (0.0, 0.0)
        return Overlap(sum(same), len(passages), *shares)


def _passages(data: Calibration) -> list[Hashes]:
    """Hashes of the passages of each window, or of each image."""
    if data.texts:
        letters = [np.array([*map(ord, _letters(text))], dtype=np.uint64) for text in data.texts]
        return [_hashed(row, _LETTERS) for row in letters]
    inputs = data.inputs.numpy()
    if inputs.ndim == 4:
        digests = [hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest() for image in inputs]
        return [np.frombuffer(digest[:4], dtype="<u4").astype(np.uint32) for digest in digests]
    return [_hashed(row, _TOKENS) for row in inputs[:, data.prefix :].astype(np.uint64)]


def _letters(text: str) -> str:
    """The letters and digits of a text, in one case and one form each."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))


def _hashed(symbols: NDArray[np.uint64], length: int) -> Hashes:
    """Hashes of every so many symbols in a row."""
    hashes = np.zeros(max(len(symbols) - length + 1, 0), dtype=np.uint64)
    for place in range(length):
        hashes = hashes * np.uint64(0x100000001B3) + symbols[place : place + len(hashes)] + np.uint64(1)
    return (_mixed(hashes) >> np.uint64(32)).astype(np.uint32)


def _mixed(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit depends on every other: the finalizer of SplitMix64 (Steele et al., 2014)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))
