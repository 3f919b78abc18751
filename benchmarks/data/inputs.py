"""Read or generate evaluation data: windows of text or images, labeled text, lm-eval tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from compress.benchmarks.data.evaluation import Evaluation
from compress.benchmarks.data.labels import Labeled, read_labeled
from compress.benchmarks.data.tasks import Tasks, read_tasks
from compress.benchmarks.results.kinds import PLANS
from compress.calibration.data import Calibration
from compress.calibration.inputs import Inputs, inputs_class
from compress.calibration.overlap import Sketch
from compress.checkpoint.model import Model
from compress.corpus.windows import WindowSize
from compress.errors import UsageError
from compress.progress import Progress, Silent


@dataclass(frozen=True)
class EvaluationInputs:
    """Evaluation data of a run, read or generated on first use and cached.

    ``file``: any text (`open_source`), a folder of images or an array of them; None takes the packaged text, or
    generates windows with another seed than the calibration's, so that both are never the same.
    ``trust_remote_code`` admits task files that run code, ``allow_overlap`` what calibrated a variant.
    ``count`` windows or images: None takes what the kind of model has by default, or fewer where it is ``quick``; and
    of a text others besides, in case these leave too much open.
    """

    model: Model
    file: str | Path | None = None
    labels_file: Path | None = None
    task_names: tuple[str, ...] = ()
    seed: int = 0
    progress: Progress = field(default_factory=Silent)
    trust_remote_code: bool = False
    allow_overlap: bool = False
    count: int | None = None
    quick: bool = False

    def check(self) -> None:
        """Read all files and tasks now, so that unusable ones are refused before the work."""
        self._inputs.check_readable()
        if self.file is not None or self.count is not None:  # the packaged text has as many as are read by default
            _ = self._read
        _ = self.labeled, self.tasks

    def check_overlap(self, calibrations: Mapping[str, Sketch]) -> None:
        """Refuse, with a UsageError, to evaluate on what calibrated a variant: ``calibrations`` by whose they are.

        Only a text that was chosen can be wrong: what is generated has another seed. Where overlap is allowed, it is
        worth a notice.
        """
        if self._read is None:
            return
        for origin, sketch in calibrations.items():
            if not (overlap := sketch.overlap(self._all_windows)):
                continue
            share = overlap.described("images" if self.model.kind.is_vision else "windows")
            line = f"the evaluation on {self.windows.origin} is on what calibrated {origin}: {share}"
            if not self.allow_overlap:
                raise UsageError(f"{line}; give another text with --eval, or pass --allow-overlap")
            self.progress.notice(f"{line}; --allow-overlap")
            return

    @cached_property
    def windows(self) -> Calibration:
        """Windows on which every variant's outputs are compared with the original's."""
        return replace(self._all_windows, inputs=self._all_windows.inputs[: self._size.count])

    @cached_property
    def _all_windows(self) -> Calibration:
        """The windows, and behind them those that are read where they leave too much open."""
        size = self._size
        return self._read or self._inputs.generate(size.count, size.length, self.seed + 1)

    @cached_property
    def _read(self) -> Calibration | None:
        """Windows of a text, or images, that were not generated; None where there are none."""
        if self.file is not None:
            return self._inputs.read(self.file, self._size)
        return self._inputs.packaged(self._size)

    @property
    def _size(self) -> WindowSize:
        plan = PLANS[self.model.kind]
        count, length = plan.evaluation_windows
        if self.count is not None:
            return WindowSize(self.count, length, fixed_count=True, fixed_length=False)
        if self.quick:
            return WindowSize(plan.quick_windows, length, fixed_count=False, fixed_length=False)
        return WindowSize(count, length, fixed_count=False, fixed_length=False, most=plan.most_windows)

    @cached_property
    def labeled(self) -> Labeled | None:
        """Labeled text, tokenized for this model; None without a labels file."""
        return None if self.labels_file is None else read_labeled(self.labels_file, self.model)

    @cached_property
    def tasks(self) -> Tasks | None:
        """The lm-eval tasks for this model; None without any."""
        return read_tasks(self.task_names, self.model, self.trust_remote_code) if self.task_names else None

    @cached_property
    def arrays(self) -> Evaluation:
        """All evaluation data as arrays, as `score_contenders` takes it."""
        inputs = self.windows.inputs.numpy()
        if self.model.kind.is_vision:
            return Evaluation.of_images(inputs)
        further = self._all_windows.inputs[len(inputs) :].numpy()
        return Evaluation.of_text(
            inputs, labeled=self.labeled, tasks=self.tasks, prefix=self.windows.prefix, further=further
        )

    @property
    def origins(self) -> list[str]:
        """Descriptions of the data for the report's notes."""
        origins = [f"evaluated on {self.windows}"]
        origins += [] if self.labeled is None else [f"labels of {self.labeled}"]
        origins += [] if self.tasks is None else [f"tasks {self.tasks}"]
        return origins

    @property
    def _inputs(self) -> Inputs:
        return inputs_class(self.model)(self.model, self.progress)
