"""Figures of rounds."""

import numpy as np
import pytest

from compress.benchmarks.statistics.measure import Measure, percentile_over_rounds, summarize


def test_summaries():
    measure = summarize([1.0, 2.0, 3.0, 4.0, 100.0])
    assert (measure.value, measure.spread) == (3.0, 1.0)
    assert summarize([1.0, 3.0], value=9.0).value == 9.0


def test_a_measure_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Measure(value=1.0).value = 2.0


def test_percentiles_are_over_all_rounds_with_the_scatter_of_the_rounds_own():
    rounds = np.random.default_rng(0).gamma(2.0, size=(5, 40))
    measure = percentile_over_rounds(rounds.tolist(), 95)
    assert measure.value == np.percentile(rounds, 95)
    assert measure.rounds == pytest.approx(np.percentile(rounds, 95, axis=1))
    low, high = np.percentile(measure.rounds, (25, 75))
    assert measure.spread == pytest.approx((high - low) / 2)
