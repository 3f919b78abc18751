"""How well contenders do on labelled text: every one through its own runtime, the original too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from compress.benchmarks.data.labels import SPEARMAN, UNLABELLED, Labelled
from compress.benchmarks.statistics.estimators import mean, paired_ratio, proportion
from compress.benchmarks.statistics.logits import cosine
from compress.benchmarks.statistics.measure import Measure
from compress.benchmarks.worker.client import Worker
from compress.progress import Progress

_BATCH = 8
_RESAMPLED = 1000
"""Times that pairs are drawn anew for the interval of a correlation."""

Floats = NDArray[np.float64]


def measure_labelled(
    workers: Sequence[Worker], labelled: Labelled, seed: int, progress: Progress
) -> list[dict[str, Measure]]:
    """The labelled metrics of every worker's contender, in their order; the first is the original."""
    parts = [slice(start, start + _BATCH) for start in range(0, len(labelled), _BATCH)]
    found: list[list[Floats]] = [[] for _ in workers]
    for part in progress.track(parts, "measuring on labels", len(parts), "batches"):
        for worker, said in zip(workers, found, strict=True):
            said.append(_similarities(worker, labelled, part) if _compares(labelled) else _said(worker, labelled, part))
    if labelled.metrics == SPEARMAN:
        gold = np.array([label for (label,) in labelled.labels])
        return [{"spearman": correlation(np.concatenate(said).reshape(-1), gold, seed)} for said in found]
    right = [_right([row for batch in said for row in batch], labelled) for said in found]
    ratios = [paired_ratio(each, right[0]) for each in right]
    return [
        {"accuracy": each} | ({"accuracy_ratio": ratio} if ratio is not None else {})
        for each, ratio in zip(right, ratios, strict=True)
    ]


def _compares(labelled: Labelled) -> bool:
    """Whether the embeddings of two texts are compared."""
    return len(labelled.texts[0]) == 2


def _said(worker: Worker, labelled: Labelled, part: slice, which: int = 0) -> Floats:
    return np.array(worker.ask("encode", **labelled.batch(part, which))["outputs"])


def _similarities(worker: Worker, labelled: Labelled, part: slice) -> Floats:
    return cosine(_said(worker, labelled, part, 0), _said(worker, labelled, part, 1))


def _right(logits: Sequence[Floats], labelled: Labelled) -> Measure:
    """The share of labels that are predicted: of texts with Wilson's interval, of words text by text."""
    hits, counts = [], []
    for row, classes in zip(logits, labelled.labels, strict=True):
        predicted = row.argmax(-1).reshape(-1)[: len(classes)]  # what is behind it is padding
        gold = np.array(classes)
        hits.append(int((predicted == gold)[gold != UNLABELLED].sum()))
        counts.append(int((gold != UNLABELLED).sum()))
    if set(counts) == {1}:
        return proportion([bool(hit) for hit in hits])
    return paired_ratio(mean(hits), mean(counts)) or Measure(value=0.0)


def correlation(found: Floats, gold: Floats, seed: int) -> Measure:
    """Spearman's rank correlation; its 95 % interval are percentiles of a bootstrap over the pairs (Efron 1979)."""
    draw = np.random.default_rng(seed)
    picks = (draw.integers(0, len(gold), len(gold)) for _ in range(_RESAMPLED))
    drawn = [spearman(found[pick], gold[pick]) for pick in picks]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Measure(value=spearman(found, gold), spread=float(np.std(drawn, ddof=1)), bounds=(float(low), float(high)))


def spearman(one: Floats, other: Floats) -> float:
    """The correlation of two rows' ranks, ties at their mean rank; 0 where all of one row are equal."""
    a, b = (_ranks(each) for each in (one, other))
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else 0.0


def _ranks(values: Floats) -> Floats:
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last: Floats = np.cumsum(counts).astype(np.float64)
    ranks: Floats = (last - (counts - 1) / 2)[where]
    return ranks
