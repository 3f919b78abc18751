"""What a variant lost: every contender's outputs against the original's, window by window, in their processes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from compress.benchmarks.data.labels import Labelled
from compress.benchmarks.data.tasks import Tasks
from compress.benchmarks.measure.classification import class_measures, compare_images, compare_workers
from compress.benchmarks.measure.labels import measure_labelled
from compress.benchmarks.measure.stopwatch import Stopwatch
from compress.benchmarks.runtime.engine import Ids
from compress.benchmarks.statistics.estimators import exponential, mean, quantile_over_windows
from compress.benchmarks.statistics.measure import Measure
from compress.benchmarks.worker.client import Worker
from compress.benchmarks.worker.image_file import Images
from compress.modeling.kinds import TaskKind
from compress.progress import Progress

Measures = dict[str, Measure]
_SENTENCES = 8
"""sentences, or images, that are read at a time"""


def measure_accuracy(
    workers: Sequence[Worker],
    ids: Ids,
    mask: Ids,
    progress: Progress,
    labelled: Labelled | None = None,
    seed: int = 0,
    tasks: Tasks | None = None,
    images: Images | None = None,
    clock: Stopwatch | None = None,
) -> list[Measures]:
    """Accuracy of every contender, in their order, on windows ``[n, s]``; the first is the original.

    The original's outputs of one window at a time lie in a temporary file that the others map, so that neither disk
    nor memory grows with the windows. ``labelled`` text and ``tasks`` are measured as well. Windows are of ``images``
    where the contenders see.
    """
    kind, clock = workers[0].contender.kind, clock or Stopwatch()
    scores: list[list[dict[str, Any]]] = [[] for _ in workers]
    step = 1 if kind.generates_text else _SENTENCES
    starts = range(0, len(ids), step)
    with tempfile.TemporaryDirectory(prefix="compress-") as folder:
        for start in progress.track(starts, "measuring accuracy", len(starts), "windows"):
            part = slice(start, start + step)
            if images is not None:
                said = compare_images(workers, images, ids[part])
            else:
                said = _window(workers, kind, ids[part], mask[part], Path(folder, "reference.npy"))
            for found, each in zip(scores, said, strict=True):
                found.append(each)
    clock.lap("accuracy")
    judged: list[Measures] = [{} for _ in workers]
    if labelled is not None:
        judged = measure_labelled(workers, labelled, seed, progress)
        clock.lap("labels")
    if tasks is not None:
        from compress.benchmarks.measure.lm_eval import measure_tasks  # here: lm-eval may not be installed

        judged = [a | b for a, b in zip(judged, measure_tasks(workers, tasks, progress), strict=True)]
        clock.lap("tasks")
    summary = _SUMMARIES[kind.name]
    return [summary(found, scores[0]) | more for found, more in zip(scores, judged, strict=True)]


def _window(workers: Sequence[Worker], kind: TaskKind, ids: Ids, mask: Ids, file: Path) -> list[dict[str, Any]]:
    original, *others = workers
    if kind.generates_text:
        request: dict[str, Any] = {"ids": ids[0].tolist()}
        first = original.ask("reference_logits", to=str(file), **request) | {"kl": 0.0, "kls": [0.0], "top1": 1.0}
        return [first, *(other.ask("compare_logits", reference=str(file), **request) for other in others)]
    if kind.has_classes:
        return compare_workers(workers, ids, mask)
    request = {"ids": ids.tolist(), "mask": mask.tolist()}
    original.ask("reference_embeddings", to=str(file), **request)
    same = {"cosines": [1.0] * len(ids)}
    return [same, *(other.ask("compare_embeddings", reference=str(file), **request) for other in others)]


def _decoder_measures(scores: list[dict[str, Any]], original: list[dict[str, Any]]) -> Measures:
    lost = [score["nll"] - reference["nll"] for score, reference in zip(scores, original, strict=True)]
    return {
        "retention": exponential([-each for each in lost], at_most=1.0),
        "perplexity": exponential([score["nll"] for score in scores]),
        "perplexity_ratio": exponential(lost),
        "kl": mean([score["kl"] for score in scores]),
        "kl_p99": quantile_over_windows([score["kls"] for score in scores], 0.99),
        "top1": mean([score["top1"] for score in scores]),
    }


def _encoder_measures(scores: list[dict[str, Any]], original: list[dict[str, Any]]) -> Measures:
    cosines = [value for score in scores for value in score["cosines"]]
    similar = mean(cosines)
    return {
        "retention": similar.model_copy(update={"value": max(similar.value, 0.0)}),
        "cosine": similar,
        "cosine_min": Measure(value=min(cosines)),
    }


_SUMMARIES: Mapping[str, Callable[[list[dict[str, Any]], list[dict[str, Any]]], Measures]] = {
    "decoder": _decoder_measures,
    "encoder": _encoder_measures,
    "classifier": class_measures,
    "encoder-decoder": _decoder_measures,
    "image-classifier": class_measures,
}
