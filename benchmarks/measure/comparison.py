"""Compare every contender's outputs with the original's, batch by batch, in their own processes."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import ClassVar, Generic, TypeVar

from compress.benchmarks.data.evaluation import Evaluation
from compress.benchmarks.statistics.estimators import exponential, mean, quantile_over_windows
from compress.benchmarks.statistics.interval import smaller
from compress.benchmarks.statistics.logits import Cosines, WindowScore
from compress.benchmarks.statistics.measure import Measure, Measures
from compress.benchmarks.worker.client import Worker
from compress.benchmarks.worker.protocol import (
    CompareEmbeddings,
    CompareLogits,
    ReferenceEmbeddings,
    ReferenceLogits,
)
from compress.progress import Progress

S = TypeVar("S")

_SECONDS = 120.0
"""after which no window beyond the first is read"""
_PRECISION = 0.005
"""of a ratio, its standard error over it"""
_WORTH = 0.5
"""retention of a contender that more windows are read for"""
_SURPRISE = 1.0
"""nats a token by which a text is less likely than what the original would write itself"""
_ALIKE = 0.99
"""mean cosine of embeddings to their mean, from which they tell sentences apart no more"""


@dataclass(frozen=True)
class AccuracyResults:
    """Measures of every contender, in their order, on so many ``windows``; ``doubts`` and ``notes`` are a line each."""

    measures: list[Measures]
    doubts: tuple[str, ...] = ()
    windows: int = 0
    notes: tuple[str, ...] = ()


class Comparison(ABC, Generic[S]):
    """Comparison of outputs with the original's; ``S`` is the score of one batch of windows."""

    batch: ClassVar[int] = 8
    """windows that are read at a time"""

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation

    def measure(self, workers: Sequence[Worker], progress: Progress) -> AccuracyResults:
        """Measure the accuracy of every worker's contender, in their order; the first is the original.

        The number of windows is doubled, as far as the evaluation has further ones, until the ratio to the original is
        known of every contender, or two minutes are over: the first are all read, however long they take.
        """
        scores: list[list[S]] = [[] for _ in workers]
        at_first, end = len(self._evaluation.windows), time.monotonic() + _SECONDS
        read = self._score_further(workers, scores, 0, math.inf, progress)
        while True:
            measures = [self.summarize(own, scores[0]) for own in scores]
            precise = ratios_known(measures)
            if precise or self._evaluation.further is None or time.monotonic() > end:
                break
            self._evaluation = self._evaluation.extended()
            progress.phase(f"measuring accuracy on {len(self._evaluation.windows) - read} more windows")
            read = self._score_further(workers, scores, read, end, progress)
        reason = "until every ratio was known to ±0.5 %" if precise else "as many as there is time or text for"
        stopped = not precise and (self._evaluation.further is not None or read < len(self._evaluation.windows))
        notes = (f"accuracy on {read} windows, {reason}",) if read > at_first or stopped else ()
        return AccuracyResults(measures, tuple(self.doubts(scores[0])), read, notes)

    def _score_further(
        self, workers: Sequence[Worker], scores: Sequence[list[S]], read: int, end: float, progress: Progress
    ) -> int:
        """Add the ``scores`` of the windows that aren't ``read`` yet, until it is ``end``; how many are read then."""
        windows = len(self._evaluation.windows)
        starts = range(read, windows, self.batch)
        for start in progress.track(starts, "measuring accuracy", len(starts), "windows"):
            if time.monotonic() > end:
                return start
            rows = slice(start, min(start + self.batch, windows))
            for earlier, score in zip(scores, self.score(workers, rows), strict=True):
                earlier.append(score)
        return windows

    @abstractmethod
    def score(self, workers: Sequence[Worker], rows: slice) -> list[S]:
        """Scores of some windows, of every worker."""

    @abstractmethod
    def summarize(self, scores: Sequence[S], original: Sequence[S]) -> Measures:
        """Summarize a contender's batches."""

    @abstractmethod
    def doubts(self, original: Sequence[S]) -> list[str]:
        """Reasons why figures on these windows say little, by the original's own scores: a line each."""


def ratios_known(measures: Sequence[Measures]) -> bool:
    """Whether the ratio to the original has a standard error of 0.5 % at most, of every contender worth measuring."""
    for own in measures:
        ratio = own.get("perplexity_ratio", own["retention"])
        if own["retention"].value >= _WORTH and (ratio.spread or 0.0) > _PRECISION * ratio.value:
            return False
    return True


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
        predicted = max(self._evaluation.prefix, 1)
        first = original.send(ReferenceLogits(ids, self._file, predicted))
        return [first, *(other.send(CompareLogits(ids, self._file, predicted)) for other in others)]

    def summarize(self, scores: Sequence[WindowScore], original: Sequence[WindowScore]) -> Measures:
        """Summarize perplexity, divergence and agreement."""
        lost = [score.nll - reference.nll for score, reference in zip(scores, original, strict=True)]
        return {
            "retention": smaller(
                exponential([-nll for nll in lost], at_most=1.0), exponential([-score.kl for score in scores])
            ),
            "perplexity": exponential([score.nll for score in scores]),
            "perplexity_ratio": exponential(lost),
            "kl": mean([score.kl for score in scores]),
            "kl_p99": quantile_over_windows([score.kls for score in scores], 0.99),
            "top1": mean([score.top1 for score in scores]),
        }

    def doubts(self, original: Sequence[WindowScore]) -> list[str]:
        """A text on which the original is worse than a guess, or that it didn't expect."""
        losses = [
            (score.nll, score.entropy, score.uniform)
            for score in original
            if score.entropy is not None and score.uniform is not None
        ]
        if not losses:
            return []
        nll, entropy, uniform = map(fmean, zip(*losses, strict=True))
        if nll > uniform:
            return [
                f"the original is worse than a guess on this text: its perplexity is {math.exp(min(nll, 600)):,.0f} of "
                f"{math.exp(uniform):,.0f} tokens"
            ]
        if nll - entropy > _SURPRISE:
            return [
                "the text is far from what the original was made for: it finds each token "
                f"{math.exp(nll - entropy):,.1f} times less likely than it expects to"
            ]
        return []


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
        centered = [value for score in scores for value in score.centered]
        measures = {"cosine": mean(cosines), "cosine_min": Measure(value=min(cosines))}
        retention = measures["cosine"]
        if centered:
            measures["cosine_centered"] = mean(centered)
            retention = smaller(retention, measures["cosine_centered"])
        return {"retention": retention.model_copy(update={"value": max(retention.value, 0.0)}), **measures}

    def doubts(self, original: Sequence[Cosines]) -> list[str]:
        """Sentences that the original doesn't tell apart."""
        alike = [score.alike for score in original if score.alike is not None]
        if not alike or fmean(alike) <= _ALIKE:
            return []
        return [
            f"the original's embeddings of these texts are nearly the same: their cosine to their mean is "
            f"{fmean(alike):.4f}"
        ]
