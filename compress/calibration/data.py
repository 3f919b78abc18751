"""Calibration data and its batch size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Calibration:
    """Calibration data and its origin.

    ``inputs`` are text, int64 ``[windows, length]``, or images, float32 ``[n, c, h, w]``. ``prefix``: how many tokens
    begin every window because they begin every text. ``texts``: what the windows say, where that is known.
    """

    inputs: Tensor
    origin: str
    prefix: int = 0
    texts: Sequence[str] = ()

    def __str__(self) -> str:
        if self.inputs.ndim == 4:
            images, _, height, width = self.inputs.shape
            return f"{self.origin}, {images} images of {width}×{height} pixels"
        windows, length = self.inputs.shape
        return f"{self.origin}, {windows} windows of {length} tokens"


BATCH = 2
"""Calibration windows that go through a block together."""
