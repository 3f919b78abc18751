"""Accuracy of every contender: outputs against the original's, labeled text, tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from compress.benchmarks.data.evaluation import Evaluation
from compress.benchmarks.measure.classification import ClassComparison
from compress.benchmarks.measure.comparison import AccuracyResults, EmbeddingComparison, LogitsComparison
from compress.benchmarks.measure.labels import measure_labeled
from compress.benchmarks.measure.stopwatch import Stopwatch
from compress.benchmarks.statistics.measure import Measures
from compress.benchmarks.worker.client import Worker
from compress.benchmarks.worker.image_file import ImageFile
from compress.progress import Progress
from compress.system.staging import scratch


def measure_accuracy(
    workers: Sequence[Worker],
    evaluation: Evaluation,
    progress: Progress,
    seed: int = 0,
    images: ImageFile | None = None,
    clock: Stopwatch | None = None,
) -> AccuracyResults:
    """Measure the accuracy of every contender, in their order; the first is the original.

    ``images`` holds the evaluation's pixels where the contenders read images. Labeled text and tasks are measured as
    well, where the evaluation has any.
    """
    clock = clock or Stopwatch()
    results = _compare_outputs(workers, evaluation, images, progress)
    measures = results.measures
    clock.lap("accuracy")
    if evaluation.labeled is not None:
        progress.phase("measuring accuracy on labels")
        measures = _joined(measures, measure_labeled(workers, evaluation.labeled, seed, progress))
        clock.lap("labels")
    if evaluation.tasks is not None:
        from compress.benchmarks.measure.lm_eval import measure_tasks  # here: lm-eval may not be installed

        progress.phase("measuring accuracy on tasks")
        measures = _joined(measures, measure_tasks(workers, evaluation.tasks, progress))
        clock.lap("tasks")
    return replace(results, measures=measures)


def _compare_outputs(
    workers: Sequence[Worker], evaluation: Evaluation, images: ImageFile | None, progress: Progress
) -> AccuracyResults:
    kind = workers[0].contender.kind
    with scratch("reference") as folder:
        file = folder / "reference.npy"
        if kind.generates_text:
            return LogitsComparison(evaluation, file).measure(workers, progress)
        if kind.has_classes:
            return ClassComparison(evaluation, images).measure(workers, progress)
        return EmbeddingComparison(evaluation, file).measure(workers, progress)


def _joined(measures: Sequence[Measures], more: Sequence[Measures]) -> list[Measures]:
    return [own | others for own, others in zip(measures, more, strict=True)]
