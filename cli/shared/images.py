"""Which images a run calibrates on, and which it evaluates on. Never the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from compress.benchmarks.results.kinds import PLANS
from compress.calibration.data import Calibration
from compress.calibration.images import made_images, read_images
from compress.checkpoint.model import Model
from compress.cli.shared.texts import TextInputs
from compress.errors import UsageError

_SOLVED_ON, _RANGED_ON = 256, 32


@dataclass
class ImageInputs(TextInputs):
    """The images of one run: files are folders of them, or arrays of pixels. ``length`` is none of theirs."""

    def check(self, scoring: bool) -> None:
        """Read the named files now."""
        if self.length is not None:
            raise UsageError(f"--length counts tokens, and {self.model.source} reads images; remove --length")
        self._read(scoring)

    @cached_property
    def calibration(self) -> Calibration:
        """The named folder's or file's images, or noise."""
        count = self.samples or (_SOLVED_ON if self.solving else _RANGED_ON)
        return self._images(self.calibration_file, count, self.seed)

    @cached_property
    def evaluation(self) -> Calibration:
        """The same, with another seed."""
        return self._images(self.evaluation_file, PLANS[self.model.kind].evaluation_windows[0], self.seed + 1)

    def _images(self, source: Path | None, count: int, seed: int) -> Calibration:
        model = self.model
        if source is None:
            return Calibration(
                made_images(model.path, model.config, count, seed), f"made images (1/f noise), seed {seed}"
            )
        return Calibration(read_images(source, model.path, model.config, count), source.name)


def inputs_class(model: Model) -> type[TextInputs]:
    """What finds a model's inputs: images for one that sees, else texts."""
    return ImageInputs if model.kind.is_vision else TextInputs
