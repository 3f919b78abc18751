"""Compare every contender's outputs with the original's, batch by batch, in their own processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from compress.benchmarks.data.evaluation import Evaluation
from compress.benchmarks.statistics.estimators import exponential, mean, quantile_over_windows
from compress.benchmarks.statistics.logits import WindowScore
from compress.benchmarks.statistics.measure import Measure, Measures
from compress.benchmarks.worker.client import Worker
from compress.benchmarks.worker.protocol import (
    CompareEmbeddings,
    CompareLogits,
    Cosines,
    ReferenceEmbeddings,
    ReferenceLogits,
)
from compress.progress import Progress

S = TypeVar("S")


class Comparison(ABC, Generic[S]):
    """Comparison of outputs with the original's; ``S`` is the score of one batch of windows."""

    batch: ClassVar[int] = 8
    """windows that are read at a time"""

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation

    def measure(self, workers: Sequence[Worker], progress: Progress) -> list[Measures]:
        """Measure the accuracy of every worker's contender, in their order; the first is the original."""
        scores: list[list[S]] = [[] for _ in workers]
        starts = range(0, len(self._evaluation.windows), self.batch)
        for start in progress.track(starts, "measuring accuracy", len(starts), "windows"):
            batch = self.score(workers, slice(start, start + self.batch))
            for earlier, score in zip(scores, batch, strict=True):
                earlier.append(score)
        return [self.summarize(own, scores[0]) for own in scores]

    @abstractmethod
    def score(self, workers: Sequence[Worker], rows: slice) -> list[S]:
        """Scores of some windows, of every worker."""

    @abstractmethod
    def summarize(self, scores: Sequence[S], original: Sequence[S]) -> Measures:
        """Summarize a contender's batches."""


class LogitsComparison(Comparison[WindowScore]):
    """Comparison of next-token probabilities of models that generate text, window by window.

    The original's logits of one window at a time lie in a ``file`` that the others map, so that neither disk nor memory
    grows with the windows.
    """

    batch = 1

    def __init__(self, evaluation: Evaluation, file: Path) -> None:
        super().__init__(evaluation)
        self._file = str(file)

    def score(self, workers: Sequence[Worker], rows: slice) -> list[WindowScore]:
        """Scores of one window."""
        original, *others = workers
        (ids,) = self._evaluation.windows[rows]
        first = original.send(ReferenceLogits(ids, self._file))
        return [first, *(other.send(CompareLogits(ids, self._file)) for other in others)]

    def summarize(self, scores: Sequence[WindowScore], original: Sequence[WindowScore]) -> Measures:
        """Summarize perplexity, divergence and agreement."""
        lost = [score.nll - reference.nll for score, reference in zip(scores, original, strict=True)]
        return {
            "retention": exponential([-nll for nll in lost], at_most=1.0),
            "perplexity": exponential([score.nll for score in scores]),
            "perplexity_ratio": exponential(lost),
            "kl": mean([score.kl for score in scores]),
            "kl_p99": quantile_over_windows([score.kls for score in scores], 0.99),
            "top1": mean([score.top1 for score in scores]),
        }


class EmbeddingComparison(Comparison[Cosines]):
    """Comparison of encoders' sentence embeddings by direction, the original's in a ``file``."""

    def __init__(self, evaluation: Evaluation, file: Path) -> None:
        super().__init__(evaluation)
        self._file = str(file)

    def score(self, workers: Sequence[Worker], rows: slice) -> list[Cosines]:
        """Cosines of a batch of sentences."""
        original, *others = workers
        ids, mask = self._evaluation.windows[rows], self._evaluation.mask[rows]
        first = original.send(ReferenceEmbeddings(ids, mask, self._file))
        return [first, *(other.send(CompareEmbeddings(ids, mask, self._file)) for other in others)]

    def summarize(self, scores: Sequence[Cosines], original: Sequence[Cosines]) -> Measures:
        """Summarize cosines by their mean and the worst."""
        cosines = [value for score in scores for value in score.values]
        similarity = mean(cosines)
        return {
            "retention": similarity.model_copy(update={"value": max(similarity.value, 0.0)}),
            "cosine": similarity,
            "cosine_min": Measure(value=min(cosines)),
        }
