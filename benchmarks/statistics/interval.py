"""Confidence intervals of 95 % for medians of rounds and means of windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean

from compress.benchmarks.statistics.estimators import standard_error
from compress.benchmarks.statistics.measure import Measure

Interval = tuple[float, float]
_CONFIDENCE = 0.95
_UNKNOWN = (-math.inf, math.inf)


def interval(measure: Measure, contended_share: float = 0.0) -> Interval:
    """Confidence interval of a figure: unbounded for a single round or window, exact for what is counted.

    Rounds: the median's distribution-free interval, between two of them (`median_interval`), and wider on both sides by
    ``contended_share``, the part of the time that other programs used, which no scatter between rounds shows. Windows:
    Student's t, unless the figure knows its own bounds.
    """
    if len(measure.rounds or measure.windows) == 1:
        return _UNKNOWN
    if measure.bounds is not None:
        return measure.bounds
    if measure.rounds:
        low, high = median_interval(measure.rounds)
        return min(low, measure.value) * (1 - contended_share), max(high, measure.value) * (1 + contended_share)
    half = (measure.spread or 0.0) * student(len(measure.windows) - 1)
    return measure.value - half, measure.value + half


def smaller(first: Measure, second: Measure) -> Measure:
    """The smaller of two figures over the same windows, with the bounds of the smaller of what they estimate.

    Both bounds are the smaller ones of the two intervals: they hold the smaller figure unless an interval fails to hold
    its own.
    """
    smallest = min(first, second, key=lambda measure: measure.value)
    low, high = (min(bounds) for bounds in zip(interval(first), interval(second), strict=True))
    if math.isinf(low) or math.isinf(high):
        return smallest
    return smallest.model_copy(update={"bounds": (low, high)})


def mean_interval(values: Sequence[float]) -> Interval:
    """Confidence interval of the mean of independent windows, by Student's t."""
    if len(values) < 2:
        return _UNKNOWN
    middle, half = fmean(values), standard_error(values) * student(len(values) - 1)
    return middle - half, middle + half


def median_interval(values: Sequence[float]) -> Interval:
    """Distribution-free interval of the median: the narrowest order statistics with 93.75 % at least, or the extremes.

    Nothing is assumed of how the values are distributed. 93.75 % is what five rounds can give.
    """
    ordered, count = sorted(values), len(values)
    cut, beyond = 0, 1
    while 2 * (beyond + math.comb(count, cut + 1)) <= 2**count / 16:
        cut += 1
        beyond += math.comb(count, cut)
    return ordered[cut], ordered[count - 1 - cut]


def student(freedom: int) -> float:
    """Student's t at 97.5 %, to 0.2 % from three degrees of freedom on; the normal's for none.

    The expansion of Abramowitz & Stegun, 26.7.5.
    """
    z = NormalDist().inv_cdf((1 + _CONFIDENCE) / 2)
    if freedom < 1:
        return z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term * freedom**-power for power, term in enumerate(terms, 1))
