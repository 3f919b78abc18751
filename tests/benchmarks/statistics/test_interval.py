"""Intervals against published tables and against what repeating shows."""

import math

import numpy as np
import pytest
from scipy.stats import norm, t

from compress.benchmarks.statistics.estimators import mean
from compress.benchmarks.statistics.interval import (
    half_width,
    interval,
    launch_interval,
    mean_interval,
    smaller,
    student,
)
from compress.benchmarks.statistics.measure import Measure, summarize


@pytest.mark.parametrize("confidence", [0.95, 0.965])
@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 39, 63])
def test_students_t_is_scipys(freedom, confidence):
    assert student(freedom, confidence) == pytest.approx(t.ppf((1 + confidence) / 2, freedom), rel=5e-3)
    assert student(0, confidence) == pytest.approx(norm.ppf((1 + confidence) / 2))


def test_launches_take_students_t_on_their_logarithms():
    medians = [1.0, 2.0, 4.0]
    half = student(2, 0.965) * math.log(2) / math.sqrt(3)
    assert launch_interval(medians) == pytest.approx((2 * math.exp(-half), 2 * math.exp(half)))
    assert interval(summarize([[0.5, 1.0, 9.0], [2.0], [3.0, 5.0]])) == pytest.approx(launch_interval(medians))
    assert launch_interval([0.0, 2.0]) == pytest.approx((1 - student(1, 0.965), 1 + student(1, 0.965)))
    assert launch_interval([2.0]) == (-math.inf, math.inf)


def test_windows_take_students_t():
    low, high = interval(mean([1.0, 2.0, 3.0, 4.0]))
    half = student(3) * math.sqrt(5 / 3) / 2
    assert (low, high) == (pytest.approx(2.5 - half), pytest.approx(2.5 + half))
    assert mean_interval([1.0, 2.0, 3.0, 4.0]) == pytest.approx((low, high))


def test_what_is_counted_is_exact_and_one_launch_says_nothing():
    assert interval(Measure(value=3.0)) == (3.0, 3.0)
    assert interval(summarize([[3.0, 3.1, 2.9]])) == (-math.inf, math.inf)
    assert interval(mean([3.0])) == (-math.inf, math.inf)
    assert mean_interval([3.0]) == (-math.inf, math.inf)


def test_what_others_took_widens_launches_and_nothing_else():
    measure = summarize([[10.0], [11.0], [12.0]])
    low, high = interval(measure)
    assert interval(measure, contended_share=0.5) == (low * 0.5, high * 1.5)
    assert interval(mean([1.0, 2.0, 3.0]), contended_share=0.5) == interval(mean([1.0, 2.0, 3.0]))
    assert interval(Measure(value=3.0), contended_share=0.5) == (3.0, 3.0)


def test_a_figure_lies_in_its_own_interval():
    """The interval is around the mean of logarithms, which an outlier moves, and the median it doesn't."""
    measure = summarize([[1.0], [1.0], [1.0], [1.0], [1.0], [1.0], [0.001]])
    low, high = interval(measure)
    assert low <= measure.value <= high


def test_the_smaller_of_two_figures_has_the_smaller_bounds():
    tight, loose = mean([0.90, 0.91, 0.92, 0.91]), mean([0.80, 1.00, 0.90, 0.98])
    least = smaller(loose, tight)
    assert least.value == tight.value == pytest.approx(0.91)
    assert least.windows == tight.windows
    assert interval(least) == (interval(loose)[0], interval(tight)[1])
    assert smaller(mean([0.5]), mean([0.4])) == mean([0.4])  # of a single window nothing is known
    assert interval(smaller(mean([0.5]), mean([0.4]))) == (-math.inf, math.inf)


def test_the_smaller_figure_lies_in_its_interval_as_often_as_promised():
    """Both estimate the same number, which is when taking the smaller one errs most."""
    draws = np.random.default_rng(0).normal(0.9, 0.05, (2000, 2, 8))
    bounds = [interval(smaller(*map(mean, pair.tolist()))) for pair in draws]
    assert np.mean([low <= 0.9 <= high for low, high in bounds]) >= 0.94


def test_the_half_width_of_a_ratio_is_relative():
    assert half_width((2 / 1.1, 2 * 1.1)) == pytest.approx(0.1)
    assert half_width((3.0, 3.0)) == 0
    assert half_width((-math.inf, math.inf)) == half_width((-0.5, 1.0)) == half_width((0.0, 1.0)) == math.inf
