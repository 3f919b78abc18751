"""Evaluation data as arrays: windows of text or images, labeled text, tasks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from compress.benchmarks.data.labels import Labeled
from compress.benchmarks.data.tasks import Tasks
from compress.benchmarks.runtime.engine import Floats, Ids
from compress.errors import UsageError


@dataclass(frozen=True)
class Evaluation:
    """Windows of tokens ``[n, s]`` with the ``mask`` of those that count, and what else accuracy is measured on.

    Of images, ``pixels`` ``[n, c, h, w]``, each is a window of one token: its number. ``prefix``: how many tokens begin
    every window because they begin every text, so that no one has to predict them. ``further`` windows ``[m, s]`` are
    read where these leave too much open.
    """

    windows: Ids
    mask: Ids
    pixels: Floats | None = None
    labeled: Labeled | None = None
    tasks: Tasks | None = None
    prefix: int = 0
    further: Ids | None = None

    @classmethod
    def of_text(
        cls,
        ids: ArrayLike,
        mask: ArrayLike | None = None,
        labeled: Labeled | None = None,
        tasks: Tasks | None = None,
        prefix: int = 0,
        further: ArrayLike | None = None,
    ) -> Evaluation:
        """Evaluation on tokens ``[n, s]``, all of which count where there is no ``mask``."""
        windows = np.asarray(ids, dtype=np.int64)
        marked = np.ones_like(windows) if mask is None else np.asarray(mask, dtype=np.int64)
        more = None if further is None or not len(array := np.asarray(further, dtype=np.int64)) else array
        return cls(windows, marked, None, labeled, tasks, prefix, more)

    @classmethod
    def of_images(cls, pixels: ArrayLike) -> Evaluation:
        """Evaluation on images ``[n, c, h, w]``, all of which count."""
        images = np.asarray(pixels, dtype=np.float32)
        windows: Ids = np.arange(len(images))[:, None]
        return cls(windows, np.ones_like(windows), images)

    def extended(self) -> Evaluation:
        """The evaluation on as many windows again, out of the further ones; itself where there are none."""
        if self.further is None:
            return self
        more, further = np.split(self.further, [len(self.windows)])
        return replace(
            self,
            windows=np.concatenate([self.windows, more]),
            mask=np.concatenate([self.mask, np.ones_like(more)]),
            further=further if len(further) else None,
        )

    @property
    def tokens(self) -> Ids:
        """The tokens that count, in a row."""
        tokens: Ids = self.windows[self.mask.astype(bool)]
        return tokens

    def check(self) -> None:
        """Raise UsageError where there is nothing to measure on."""
        shape, least = self.windows.shape, 2 if self.pixels is None else 1
        if len(shape) != 2 or shape != self.mask.shape or shape[0] == 0 or shape[1] < least:
            raise UsageError(f"evaluation needs windows of at least two tokens, not an array of shape {shape}")

    def digest(self) -> str:
        """SHA-256 of all inputs, equal for two runs on the same ones, however many of the further windows they read."""
        inputs = self.windows if self.pixels is None else self.pixels
        parts = [inputs.tobytes(), self.mask.tobytes()]
        parts += [] if self.further is None else [self.further.tobytes()]
        parts += [] if self.labeled is None else [self.labeled.tokens().tobytes()]
        parts += [] if self.tasks is None else [self.tasks.digest()]
        return hashlib.sha256(b"".join(parts)).hexdigest()
