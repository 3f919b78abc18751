"""Accuracy of every contender on labeled text, each in its own runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compress.benchmarks.data.labels import SPEARMAN, UNLABELED, Labeled
from compress.benchmarks.statistics.correlation import rank_correlation
from compress.benchmarks.statistics.estimators import mean, paired_ratio, proportion, proportion_ratio
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
    hits = [_Hits.of_outputs([row for batch in batches for row in batch], labeled) for batches in outputs]
    ratios = [own.ratio(hits[0]) for own in hits]
    return [
        {"accuracy": own.accuracy()} | ({"accuracy_ratio": ratio} if ratio is not None else {})
        for own, ratio in zip(hits, ratios, strict=True)
    ]


def _predict(worker: Worker, labeled: Labeled, part: slice) -> Doubles:
    """Logits or scores of some lines; cosine similarities where embeddings are compared."""
    outputs = [worker.send(labeled.batch(part, column)).outputs for column in range(labeled.columns)]
    return outputs[0] if len(outputs) == 1 else cosine(*outputs)


@dataclass(frozen=True)
class _Hits:
    """How many ``labels`` of each text were predicted right: the text's own, or those of its words."""

    right: list[int]
    labels: list[int]

    @classmethod
    def of_outputs(cls, logits: Sequence[Doubles], labeled: Labeled) -> _Hits:
        """Those of a contender's logits, text by text."""
        right, counts = [], []
        for row, classes in zip(logits, labeled.labels, strict=True):
            predicted = row.argmax(-1).reshape(-1)[: len(classes)]  # what is behind it is padding
            gold = np.array(classes)
            right.append(int((predicted == gold)[gold != UNLABELED].sum()))
            counts.append(int((gold != UNLABELED).sum()))
        return cls(right, counts)

    def accuracy(self) -> Measure:
        """Share of correct labels: of texts with Wilson's interval, of words text by text.

        Where all words are right, no text differs from another, and the interval is that of texts.
        """
        if self._single or self.right == self.labels:
            return proportion(self._all_right)
        return paired_ratio(mean(self.right), mean(self.labels)) or Measure(value=0.0)

    def ratio(self, original: _Hits) -> Measure | None:
        """That share over the original's; None where the original has none right."""
        if self._single or (self.right == original.right and any(original._all_right)):
            return proportion_ratio(self._all_right, original._all_right)
        return paired_ratio(self.accuracy(), original.accuracy())

    @property
    def _single(self) -> bool:
        return set(self.labels) == {1}

    @property
    def _all_right(self) -> list[bool]:
        return [right == count for right, count in zip(self.right, self.labels, strict=True)]
