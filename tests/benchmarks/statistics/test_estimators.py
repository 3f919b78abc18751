"""Estimators against formulas, simulation and the bootstrap."""

import math

import numpy as np
import pytest

from compress.benchmarks.statistics.estimators import (
    exponential,
    mean,
    paired_ratio,
    proportion,
    proportion_ratio,
    quantile_over_windows,
)
from compress.benchmarks.statistics.interval import interval


def test_an_exponential_and_its_error():
    measure = exponential([1.0, 2.0, 3.0])
    assert measure.value == pytest.approx(math.exp(2.0))
    assert measure.spread == pytest.approx(math.exp(2.0) / math.sqrt(3))
    assert measure.windows == pytest.approx([0.0, math.exp(2.0), 2 * math.exp(2.0)])


def test_a_cap_leaves_the_windows_alone():
    measure = exponential([0.1, 0.3], at_most=1.0)
    assert (measure.value, np.mean(measure.windows)) == (1.0, pytest.approx(math.exp(0.2)))


def test_a_broken_model_has_figures_all_the_same():
    assert np.isfinite([*exponential([1e9, 2.0]).windows, exponential([1e9, 1e9]).value]).all()


def test_mean_with_error():
    measure = mean([2.0, 4.0, 6.0])
    assert (measure.value, measure.spread) == (4.0, pytest.approx(2 / math.sqrt(3)))
    assert (mean([5.0]).value, mean([5.0]).spread) == (5.0, 0.0)


def test_a_quantile_over_all_tokens():
    windows = np.random.default_rng(0).gamma(0.3, size=(8, 500))
    measure = quantile_over_windows(windows.tolist(), 0.99)
    assert measure.value == np.quantile(windows, 0.99)
    assert np.mean(measure.windows) == pytest.approx(measure.value, rel=1e-12)
    assert quantile_over_windows([[1.0, 3.0]], 0.5).value == 2.0


def test_the_error_of_a_quantile_is_what_repeating_it_shows():
    """Two hundred texts of eight windows: it is some 20 % too wide, never too narrow."""
    draws = np.random.default_rng(0).gamma(0.3, size=(200, 8, 500))
    measures = [quantile_over_windows(draw.tolist(), 0.99) for draw in draws]
    spread = np.sqrt(np.mean([measure.spread**2 for measure in measures]))
    assert 1.0 < spread / np.std([measure.value for measure in measures]) < 1.25


def test_a_share_knows_that_all_of_a_few_is_not_all():
    """Wilson's bounds of 10 of 20 and of 20 of 20, as published tables have them."""
    half, full = proportion([True] * 10 + [False] * 10), proportion([True] * 20)
    assert half.value == 0.5
    assert interval(half) == (pytest.approx(0.2993, abs=1e-4), pytest.approx(0.7007, abs=1e-4))
    assert interval(full) == (pytest.approx(0.8389, abs=1e-4), 1.0)


def test_paired_ratios_are_surer_than_their_parts():
    rng = np.random.default_rng(0)
    hard = rng.normal(1, 0.2, 40)
    first, other = mean((hard * 0.9 + rng.normal(0, 0.001, 40)).tolist()), mean(hard.tolist())
    quotient = paired_ratio(first, other)
    assert quotient.value == pytest.approx(first.value / other.value, rel=1e-12)
    assert np.mean(quotient.windows) == pytest.approx(quotient.value, rel=1e-12)
    both = np.array([first.windows, other.windows])
    resampled = [np.divide(*both[:, rng.integers(0, 40, 40)].mean(1)) for _ in range(4000)]
    assert quotient.spread == pytest.approx(np.std(resampled), rel=0.1)
    assert quotient.spread < math.hypot(first.spread, other.spread) / 10
    assert paired_ratio(first, mean([0.0, 0.0])) is None


def test_a_ratio_of_proportions_of_the_same_things():
    """Of 20 of 20 each: Wilson's interval with z less what both share, a quotient of both."""
    ratio = proportion_ratio([True] * 20, [True] * 20)
    z = 1.959964 * math.sqrt(2) / 21 / (2 * math.sqrt(1 / 22 / 21))
    assert ratio.value == 1
    assert ratio.bounds == pytest.approx((20 / (20 + z**2), (20 + z**2) / 20), rel=1e-6)
    assert proportion_ratio([True, False], [False, False]) is None
    mine, other = [True] * 10 + [False] * 10, [True] * 15 + [False] * 5
    ratio = proportion_ratio(mine, other)
    assert ratio.value == pytest.approx(10 / 15)
    assert ratio.bounds[0] < 10 / 15 < ratio.bounds[1] < 1
    assert ratio.windows == paired_ratio(mean([*map(float, mine)]), mean([*map(float, other)])).windows


def test_ratios_of_proportions_hold_the_truth_as_often_as_promised():
    draw = np.random.default_rng(0)
    for rate, kept, gained in ((0.95, 0.97, 0.2), (0.7, 0.9, 0.2), (0.99, 0.999, 0.5)):
        truth = (rate * kept + (1 - rate) * gained) / rate
        held = 0
        for _ in range(600):
            other = draw.random(60) < rate
            mine = draw.random(60) < np.where(other, kept, gained)
            low, high = proportion_ratio(mine.tolist(), other.tolist()).bounds
            held += low <= truth <= high
        assert held / 600 >= 0.93
