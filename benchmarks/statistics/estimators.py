"""Estimators over evaluation windows, with standard errors and the contribution of each window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from compress.benchmarks.statistics.measure import Measure

_NORMAL = NormalDist().inv_cdf(0.975)
_LARGEST = 600.0
"""an exponent; what is beyond it is a broken model's, and a float couldn't hold its windows"""


def mean(values: Sequence[float]) -> Measure:
    """Mean over windows."""
    array = np.asarray(values, dtype=np.float64)
    return _measure(float(array.mean()), array)


def proportion(hits: Sequence[bool]) -> Measure:
    """Proportion of hits with Wilson's interval (1927), which is sound for 20 of 20 too."""
    rate = mean([float(hit) for hit in hits])
    return rate.model_copy(update={"bounds": _wilson(sum(hits), len(hits), _NORMAL)})


def proportion_ratio(mine: Sequence[bool], other: Sequence[bool]) -> Measure | None:
    """Ratio of two proportions of hits on the same things; None where the other never hits.

    The interval is that of Bonett & Price, "Confidence intervals for a ratio of binomial proportions based on paired
    data" (2006): a quotient of Wilson's intervals, narrowed by what both share. It is no point where both hit the same.
    """
    ratio = paired_ratio(mean([float(hit) for hit in mine]), mean([float(hit) for hit in other]))
    if ratio is None:
        return None
    hits, others = sum(mine), sum(other)
    either = sum(a or b for a, b in zip(mine, other, strict=True))
    alone = sum(a != b for a, b in zip(mine, other, strict=True))
    shared = math.sqrt((alone + 2) / ((hits + 1) * (others + 1)))
    apart = sum(math.sqrt((1 - (count + 1) / (either + 2)) / (count + 1)) for count in (hits, others))
    (low, high), (low_other, high_other) = (
        _wilson(count, either, _NORMAL * shared / apart) for count in (hits, others)
    )
    bounds = (low / high_other, high / low_other)
    return ratio.model_copy(update={"bounds": (min(bounds[0], ratio.value), max(bounds[1], ratio.value))})


def _wilson(hits: int, n: int, z: float) -> tuple[float, float]:
    """Interval of a proportion whose score is within ``z`` standard deviations."""
    rate = hits / n
    middle = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(rate * (1 - rate) / n + (z / (2 * n)) ** 2)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def exponential(values: Sequence[float], at_most: float = math.inf) -> Measure:
    """Exponential of the mean, as perplexity is of losses; contributions and error by the delta method.

    ``at_most`` caps the figure, not its windows.
    """
    array = np.minimum(np.asarray(values, dtype=np.float64), _LARGEST)
    value = math.exp(float(array.mean()))
    return _measure(min(value, at_most), value * (1 + array - array.mean()))


def quantile_over_windows(windows: Sequence[Sequence[float]], share: float) -> Measure:
    """Quantile over the tokens of all windows together; contributions by a jackknife over windows.

    The jackknife is consistent for quantiles where what it leaves out is long (Shao & Wu 1989): a window is.
    """
    parts = [np.asarray(window, dtype=np.float64) for window in windows]
    value = float(np.quantile(np.concatenate(parts), share))
    if len(parts) == 1:
        return _measure(value, np.array([value]))
    without = np.array([np.quantile(np.concatenate(parts[:i] + parts[i + 1 :]), share) for i in range(len(parts))])
    return _measure(value, value + (len(parts) - 1) * (without.mean() - without))


def paired_ratio(mine: Measure, other: Measure) -> Measure | None:
    """Ratio of two figures, paired by window where both are from the same windows; None where it isn't a number.

    The contributions are those of the delta method; without windows, both errors count as independent.
    """
    if not other.value:
        return None
    value = mine.value / other.value
    if mine.value and not (mine.windows and other.windows) and mine.spread is not None and other.spread is not None:
        relative = math.hypot(mine.spread / mine.value, other.spread / other.value)
        return Measure(value=value, spread=abs(value) * relative)
    if not mine.windows or len(mine.windows) != len(other.windows) or not mine.value:
        return Measure(value=value)
    a, b = np.asarray(mine.windows), np.asarray(other.windows)
    return _measure(value, value * (1 + (a - a.mean()) / mine.value - (b - b.mean()) / other.value))


def standard_error(values: Sequence[float]) -> float:
    """Standard error of the mean of ``values``; 0 for a single one, whose error isn't known."""
    return float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def _measure(value: float, windows: NDArray[np.float64]) -> Measure:
    shares = tuple(windows.tolist())
    return Measure(value=value, spread=standard_error(shares), windows=shares)
