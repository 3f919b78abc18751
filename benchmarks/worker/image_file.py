"""Pass images to workers through an .npy file: as text they would be most of what is measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.benchmarks.runtime.engine import Floats, Ids
from compress.benchmarks.worker.client import Worker
from compress.benchmarks.worker.protocol import ClassifiedImages, ClassifyImages


@dataclass(frozen=True)
class ImageFile:
    """Images ``[n, c, h, w]`` in an ``.npy`` file, each addressed by its row."""

    file: Path

    @classmethod
    def saved(cls, pixels: Floats, folder: Path) -> ImageFile:
        """Write images into a folder."""
        np.save(folder / "images.npy", pixels)
        return cls(folder / "images.npy")

    def classify(self, worker: Worker, ids: Ids, repeats: int = 1) -> ClassifiedImages:
        """Let a worker classify a batch of rows: logits ``[b, labels]``, and the seconds of each repetition."""
        return worker.send(ClassifyImages(str(self.file), ids.reshape(-1), repeats))
