"""Confidence intervals of 95 % for medians of launches and means of windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean

from compress.benchmarks.statistics.estimators import standard_error
from compress.benchmarks.statistics.measure import Measure

Interval = tuple[float, float]
_CONFIDENCE = 0.95
_OF_LAUNCHES = 0.965
"""Confidence of the interval of so many launches as were decided on beforehand.

Launches are added until the interval is narrow, and it happens to be narrow where it misses: such intervals hold what
they should in 94 to 96 % of all runs (`benchmarks/project/honesty.py`).
"""
_UNKNOWN = (-math.inf, math.inf)


def interval(measure: Measure, contended_share: float = 0.0) -> Interval:
    """Confidence interval of a figure: unbounded for a single launch or window, exact for what is counted.

    Launches: `launch_interval`, and wider on both sides by ``contended_share``, the part of the time that other
    programs used, which no scatter shows. Windows: Student's t, unless the figure knows its own bounds.
    """
    if len(measure.launches or measure.windows) == 1:
        return _UNKNOWN
    if measure.bounds is not None:
        return measure.bounds
    if measure.launches:
        low, high = launch_interval(measure.medians)
        return min(low, measure.value) * (1 - contended_share), max(high, measure.value) * (1 + contended_share)
    half = (measure.spread or 0.0) * student(len(measure.windows) - 1)
    return measure.value - half, measure.value + half


def half_width(bounds: Interval) -> float:
    """Half width of a ratio's interval, relative to its middle; infinite of one that isn't bounded above zero."""
    low, high = bounds
    return math.sqrt(high / low) - 1 if low > 0 else math.inf


def is_resolved(ratio: Measure) -> bool:
    """Whether the measurement tells two figures apart, by the interval of their ratio, or they are the same."""
    low, high = interval(ratio)
    return ratio.value == 1 or not low <= 1 <= high


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


def launch_interval(medians: Sequence[float]) -> Interval:
    """Confidence interval from the medians of independent launches, by Student's t on their logarithms.

    A launch's median is off by the launch and by what is left of the noise of its rounds; both show in how medians
    scatter (a random-effects model whose rounds are balanced). Of figures that aren't all positive, t on themselves.
    """
    if len(medians) < 2:
        return _UNKNOWN
    logarithmic = min(medians) > 0
    values = [math.log(median) for median in medians] if logarithmic else list(medians)
    middle, half = fmean(values), standard_error(values) * student(len(values) - 1, _OF_LAUNCHES)
    low, high = middle - half, middle + half
    return (math.exp(low), math.exp(high)) if logarithmic else (low, high)


def student(freedom: int, confidence: float = _CONFIDENCE) -> float:
    """Student's t that holds a share ``confidence``, to 0.3 %; the normal's for no degrees of freedom.

    Exact for one and two, beyond by the expansion of Abramowitz & Stegun, 26.7.5.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    if freedom < 1:
        return z
    if freedom == 1:
        return math.tan(math.pi * confidence / 2)
    if freedom == 2:
        return confidence * math.sqrt(2 / (1 - confidence**2))
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term * freedom**-power for power, term in enumerate(terms, 1))
