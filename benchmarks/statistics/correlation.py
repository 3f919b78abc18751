"""Spearman's rank correlation, with an interval by bootstrap."""

from __future__ import annotations

import numpy as np

from compress.benchmarks.statistics.logits import Doubles
from compress.benchmarks.statistics.measure import Measure

_RESAMPLED = 1000
"""Times that pairs are drawn anew."""


def rank_correlation(scores: Doubles, gold: Doubles, seed: int) -> Measure:
    """Spearman's rank correlation with a 95 % percentile bootstrap interval over the pairs (Efron 1979)."""
    draw = np.random.default_rng(seed)
    picks = (draw.integers(0, len(gold), len(gold)) for _ in range(_RESAMPLED))
    drawn = [spearman(scores[pick], gold[pick]) for pick in picks]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Measure(value=spearman(scores, gold), spread=float(np.std(drawn, ddof=1)), bounds=(float(low), float(high)))


def spearman(first: Doubles, second: Doubles) -> float:
    """Spearman's rank correlation of two rows, ties at their mean rank; 0 where all of one row are equal."""
    a, b = (_ranks(values) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else 0.0


def _ranks(values: Doubles) -> Doubles:
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last: Doubles = np.cumsum(counts).astype(np.float64)
    ranks: Doubles = (last - (counts - 1) / 2)[where]
    return ranks
