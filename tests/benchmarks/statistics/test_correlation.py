"""Rank correlation by hand, and its interval by theory."""

import numpy as np
import pytest

from compress.benchmarks.statistics.correlation import rank_correlation, spearman
from compress.benchmarks.statistics.interval import interval


def test_rank_correlation():
    assert spearman(np.array([1.0, 5.0, 9.0]), np.array([0.1, 0.2, 7.0])) == pytest.approx(1.0)
    assert spearman(np.array([3.0, 2.0, 1.0]), np.array([0.1, 0.2, 7.0])) == pytest.approx(-1.0)
    # ranks 1, 2.5, 2.5, 4 against 1, 3, 2, 4
    assert spearman(np.array([1.0, 2.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0, 4.0])) == pytest.approx(4.5 / 22.5**0.5)
    assert spearman(np.ones(4), np.arange(4.0)) == 0.0


def test_a_correlations_interval_is_as_wide_as_theory_has_it():
    """Bonett & Wright (2000): of Fisher's z, sqrt((1 + ρ²/2) / (n - 3))."""
    noise = np.random.default_rng(0).normal(size=(12, 2, 80))
    pairs = [(first, 0.6 * first + 0.8 * other) for first, other in noise]
    measures = [rank_correlation(*pair, seed=1) for pair in pairs]
    truth = 6 / np.pi * np.arcsin(0.3)
    expected = (1 - truth**2) * np.sqrt((1 + truth**2 / 2) / 77)
    assert np.mean([measure.spread for measure in measures]) == pytest.approx(expected, rel=0.15)
    assert np.mean([low <= truth <= high for low, high in map(interval, measures)]) >= 0.75
    assert rank_correlation(*pairs[0], seed=1) == measures[0]
