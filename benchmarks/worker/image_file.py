"""Images on their way to the workers: in a file, since as text they would be most of what is measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compress.benchmarks.runtime.engine import Floats, Ids
from compress.benchmarks.worker.client import Worker


@dataclass(frozen=True)
class Images:
    """Images ``[n, c, h, w]`` in an ``.npy`` file. Each is a window of one id, its row there."""

    file: Path

    @classmethod
    def saved(cls, pixels: Floats, folder: Path) -> Images:
        """Write them into a folder."""
        np.save(folder / "images.npy", pixels)
        return cls(folder / "images.npy")

    def ask(self, worker: Worker, ids: Ids, repeats: int = 1) -> dict[str, Any]:
        """What a worker makes of a batch of them: the last time's logits ``[b, labels]``, and each time's seconds."""
        return worker.ask("look", images=str(self.file), rows=ids.reshape(-1).tolist(), repeats=repeats)
