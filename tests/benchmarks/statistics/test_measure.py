"""Figures of launches."""

import numpy as np
import pytest

from compress.benchmarks.statistics.measure import Measure, summarize


def test_a_figure_is_the_median_over_launches_of_the_medians_of_their_rounds():
    measure = summarize([[1.0, 9.0, 2.0], [4.0], [3.0, 5.0]])
    assert measure.medians == (2.0, 4.0, 4.0)
    assert (measure.value, measure.spread) == (4.0, 0.5)
    assert measure.launches == ((1.0, 9.0, 2.0), (4.0,), (3.0, 5.0))


def test_the_spread_of_a_single_launch_is_that_of_its_rounds():
    measure = summarize([[1.0, 2.0, 3.0, 4.0, 100.0]])
    assert (measure.value, measure.spread) == (3.0, 1.0)


def test_converted_figures_keep_their_launches():
    measure = summarize([[1.0, 2.0], [4.0]]).converted(lambda value: 8 / value)
    assert measure.launches == ((8.0, 4.0), (2.0,))
    assert measure.value == 4.0


def test_a_measure_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Measure(value=1.0).value = 2.0


def test_the_spread_is_half_the_interquartile_range():
    medians = np.random.default_rng(0).gamma(2.0, size=40)
    low, high = np.percentile(medians, (25, 75))
    assert summarize(medians[:, None].tolist()).spread == pytest.approx((high - low) / 2)
