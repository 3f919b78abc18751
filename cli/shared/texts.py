"""Which text a run calibrates on, and which it evaluates on. Never the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor

from compress.benchmarks.data.labels import Labelled, read_labelled
from compress.benchmarks.data.tasks import Tasks, read_tasks
from compress.benchmarks.gate.requirement import Figure, check_labelled, check_tasks
from compress.benchmarks.results.kinds import PLANS
from compress.calibration.data import Calibration
from compress.calibration.text import read_text, self_written, vocabulary_text, windows
from compress.checkpoint.demo_text import evaluation_text
from compress.checkpoint.model import Model
from compress.errors import ModelError
from compress.modeling.architecture import longest_input
from compress.progress import Progress

_SOLVED_ON, _SOLVED_LENGTH = 128, 512
_OWN_SOLVED_ON = 64
"""Writing text takes longer than solving on it."""
_RANGED_ON, _RANGED_LENGTH = 16, 256


@dataclass
class TextInputs:
    """The texts of one run, tokenized when they are asked for and then kept.

    ``samples`` windows of ``length`` tokens to calibrate on; None takes as many as the work is worth: ranges are known
    from a few, ``solving`` asks for far more than a linear has inputs.
    """

    model: Model
    calibration_file: Path | None
    evaluation_file: Path | None
    samples: int | None
    length: int | None
    seed: int
    progress: Progress
    solving: bool = False
    labels_file: Path | None = None
    task_names: tuple[str, ...] = ()

    def check(self, scoring: bool) -> None:
        """Read the named files now: a text that can't be used is refused before the work, not after it.

        So is a model without a tokenizer; one that is not scored gets a notice.
        """
        try:
            self.model.tokenizer()
        except ModelError as error:
            if scoring or self.calibration_file is not None:
                raise
            self.progress.notice(f"{error}: the variant can be neither scored nor used to generate text")
        self._read(scoring)

    def _read(self, scoring: bool) -> None:
        """Read what was named, so that it is known to be usable."""
        if self.calibration_file is not None:
            _ = self.calibration
        if scoring and (self.evaluation_file is not None or self._is_demo):
            _ = self.evaluation
        if scoring:
            _ = self.labelled, self.tasks

    def check_required(self, figures: Sequence[Figure]) -> None:
        """Refuse figures of labelled text or of tasks that nothing given will tell."""
        check_labelled(figures, self.labelled.metrics if self.labelled else ())
        check_tasks(figures, self.tasks.better if self.tasks else ())

    @cached_property
    def calibration(self) -> Calibration:
        """The named file, or what the model writes itself."""
        if self.calibration_file is not None:
            text = read_text(self.calibration_file)
            count = self.samples or (_SOLVED_ON if self.solving else _RANGED_ON)
            return Calibration(windows(self.model.tokenizer(), text, self._window, count), self.calibration_file.name)
        return self._own(self.samples or (_OWN_SOLVED_ON if self.solving else _RANGED_ON), self._window, self.seed)

    @cached_property
    def evaluation(self) -> Calibration:
        """The named file, else for a demo its held-out text, else what the model writes with another seed."""
        count, length = PLANS[self.model.kind].evaluation_windows
        length = min(length, longest_input(self.model.config))
        if self.evaluation_file is not None:
            tokens = windows(self.model.tokenizer(), read_text(self.evaluation_file), length, count)
            return Calibration(tokens, self.evaluation_file.name)
        if self._is_demo:
            held_out = evaluation_text(self.progress)
            return Calibration(windows(self.model.tokenizer(), held_out, length, count), "Wikipedia sample, last third")
        return self._own(count, length, self.seed + 1)

    @cached_property
    def labelled(self) -> Labelled | None:
        """The named file's, for this model; None where there is none."""
        return None if self.labels_file is None else read_labelled(self.labels_file, self.model)

    @cached_property
    def tasks(self) -> Tasks | None:
        """lm-eval's of these names or files, for this model; None where there are none."""
        return read_tasks(self.task_names, self.model) if self.task_names else None

    @property
    def _is_demo(self) -> bool:
        return self.model.source.startswith("demo:")

    @property
    def _window(self) -> int:
        length = self.length or (_SOLVED_LENGTH if self.solving else _RANGED_LENGTH)
        return min(length, longest_input(self.model.config))

    def _own(self, count: int, length: int, seed: int) -> Calibration:
        tokenizer = self.model.tokenizer()
        if not self.model.kind.is_decoder_only:
            tokens: Tensor = vocabulary_text(tokenizer, count, length, seed)
            return Calibration(tokens, f"random vocabulary words, seed {seed}")
        tokens = self_written(self.model.torch_module(), tokenizer, count, length, seed, self.progress)
        return Calibration(tokens, f"self-written text, seed {seed}")
