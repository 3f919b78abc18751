"""Intervals against published tables and against what repeating shows."""

import math

import numpy as np
import pytest

from compress.benchmarks.statistics.estimators import mean
from compress.benchmarks.statistics.interval import interval, mean_interval, median_interval, smaller, student
from compress.benchmarks.statistics.measure import Measure, summarize


@pytest.mark.parametrize(("freedom", "value"), [(3, 3.182), (4, 2.776), (7, 2.365), (39, 2.023), (63, 1.998)])
def test_students_t_is_that_of_the_tables(freedom, value):
    assert student(freedom) == pytest.approx(value, rel=2e-3)
    assert student(0) == pytest.approx(1.95996, abs=1e-5)


@pytest.mark.parametrize(("count", "pair"), [(2, (1, 2)), (5, (1, 5)), (9, (2, 8)), (15, (4, 12)), (30, (10, 21))])
def test_order_statistics_of_the_median(count, pair):
    low, high = median_interval(list(range(count, 0, -1)))
    assert (low, high) == pair
    if count >= 5:
        missed = 2 * sum(math.comb(count, i) for i in range(low)) / 2**count
        assert missed <= 1 / 16


def test_fifteen_rounds_hold_the_median_as_often_as_promised():
    draws = np.random.default_rng(0).exponential(size=(2000, 15))
    bounds = [median_interval(draw) for draw in draws]
    assert np.mean([low <= math.log(2) <= high for low, high in bounds]) == pytest.approx(0.965, abs=0.01)


def test_windows_take_students_t():
    low, high = interval(mean([1.0, 2.0, 3.0, 4.0]))
    half = student(3) * math.sqrt(5 / 3) / 2
    assert (low, high) == (pytest.approx(2.5 - half), pytest.approx(2.5 + half))
    assert mean_interval([1.0, 2.0, 3.0, 4.0]) == pytest.approx((low, high))


def test_what_is_counted_is_exact_and_one_round_says_nothing():
    assert interval(Measure(value=3.0)) == (3.0, 3.0)
    assert interval(summarize([3.0])) == (-math.inf, math.inf)
    assert interval(mean([3.0])) == (-math.inf, math.inf)
    assert mean_interval([3.0]) == (-math.inf, math.inf)


def test_a_pooled_figure_lies_in_its_own_interval():
    assert interval(summarize([1.0, 2.0], value=9.0)) == (1.0, 9.0)


def test_what_others_took_widens_rounds_and_nothing_else():
    assert interval(summarize([10.0, 11.0, 12.0]), contended_share=0.5) == (5.0, 18.0)
    assert interval(mean([1.0, 2.0, 3.0]), contended_share=0.5) == interval(mean([1.0, 2.0, 3.0]))
    assert interval(Measure(value=3.0), contended_share=0.5) == (3.0, 3.0)


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
