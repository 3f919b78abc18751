"""Accuracy of every contender on labeled text, each in its own runtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compress.benchmarks.data.labels import SPEARMAN, UNLABELED, Labeled
from compress.benchmarks.statistics.correlation import rank_correlation
from compress.benchmarks.statistics.estimators import mean, paired_ratio, proportion
from compress.benchmarks.statistics.logits import Doubles, cosine
from compress.benchmarks.statistics.measure import Measure, Measures
from compress.benchmarks.worker.client import Worker
from compress.progress import Progress

_BATCH = 8


def measure_labeled(workers: Sequence[Worker], labeled: Labeled, seed: int, progress: Progress) -> list[Measures]:
    """Measure the labeled metrics of every worker's contender, in their order; the first is the original."""
    parts = [slice(start, start + _BATCH) for start in range(0, len(labeled), _BATCH)]
    outputs: list[list[Doubles]] = [[] for _ in workers]
    for part in progress.track(parts, "measuring on labels", len(parts), "batches"):
        for worker, batches in zip(workers, outputs, strict=True):
            batches.append(_predict(worker, labeled, part))
    if labeled.metrics == SPEARMAN:
        gold = np.array([label for (label,) in labeled.labels])
        scores = [np.concatenate(batches).reshape(-1) for batches in outputs]
        return [{"spearman": rank_correlation(own, gold, seed)} for own in scores]
    accuracies = [_accuracy([row for batch in batches for row in batch], labeled) for batches in outputs]
    ratios = [paired_ratio(accuracy, accuracies[0]) for accuracy in accuracies]
    return [
        {"accuracy": accuracy} | ({"accuracy_ratio": ratio} if ratio is not None else {})
        for accuracy, ratio in zip(accuracies, ratios, strict=True)
    ]


def _predict(worker: Worker, labeled: Labeled, part: slice) -> Doubles:
    """Logits or scores of some lines; cosine similarities where embeddings are compared."""
    outputs = [worker.send(labeled.batch(part, column)).outputs for column in range(labeled.columns)]
    return outputs[0] if len(outputs) == 1 else cosine(*outputs)


def _accuracy(logits: Sequence[Doubles], labeled: Labeled) -> Measure:
    """Share of correct labels: of texts with Wilson's interval, of words text by text."""
    hits, counts = [], []
    for row, classes in zip(logits, labeled.labels, strict=True):
        predicted = row.argmax(-1).reshape(-1)[: len(classes)]  # what is behind it is padding
        gold = np.array(classes)
        hits.append(int((predicted == gold)[gold != UNLABELED].sum()))
        counts.append(int((gold != UNLABELED).sum()))
    if set(counts) == {1}:
        return proportion([bool(hit) for hit in hits])
    return paired_ratio(mean(hits), mean(counts)) or Measure(value=0.0)
