"""Verdicts on the measurement itself, and the intervals that it simulates."""

import math

import numpy as np
import pytest

from compress.benchmarks.data.evaluation import Evaluation
from compress.benchmarks.project import honesty
from compress.benchmarks.project.goals import HONESTY, figure_results
from compress.benchmarks.project.honesty import Scoring, SpeedRatio, coverage, honesty_figures, measure_scorings
from compress.benchmarks.results.scorecard import Settings


def compared(value, low, high):
    return SpeedRatio(value, (low, high), 3, 10.0)


def test_figures():
    scorings = [Scoring(compared(1.01, 0.98, 1.04), compared(1.04, 1.01, 1.07))] * 19
    scorings.append(Scoring(compared(0.9, 0.85, 0.95), compared(1.03, 0.99, 1.07)))
    figures = honesty_figures(scorings, [0.94, 0.95, 0.96])
    expected = {"different": 0.05, "off": 0.01, "found": 0.95, "least": 0.94, "most": 0.96}
    assert figures == pytest.approx(expected)
    assert all(verdict.met for verdict in figure_results(HONESTY, figures))
    worse = expected | {"different": 0.1, "off": 0.03, "found": 0.75, "least": 0.92, "most": 0.98}
    assert not any(verdict.met for verdict in figure_results(HONESTY, worse))


def test_a_slower_layer_less_was_not_found():
    scorings = [Scoring(compared(1.0, 0.9, 1.1), compared(0.9, 0.85, 0.95))]
    assert honesty_figures(scorings, [0.95])["found"] == 0
    assert scorings[0].shorter.different


@pytest.mark.parametrize("noise", [(0.005, 0.01, 0.005), (0.03, 0.03, 0.0)])
def test_intervals_hold_the_truth_as_often_as_promised(noise):
    assert 0.92 <= coverage(*noise, simulated=600) <= 0.98


def test_a_number_of_launches_that_was_decided_on_before():
    assert 0.94 <= coverage(0.05, 0.05, 0.01, precision=1e-9, most=5, simulated=600) <= 0.985


def test_intervals_that_are_too_narrow_are_found(monkeypatch):
    monkeypatch.setattr(honesty, "interval", lambda measure: (measure.value / 1.001, measure.value * 1.001))
    assert coverage(0.03, 0.03, 0.0, simulated=200) < 0.5


@pytest.mark.slow
def test_an_artifact_is_scored_beside_itself(llama_plain, tokens, tmp_path, monkeypatch):
    monkeypatch.setattr(honesty, "Settings", lambda seed: Settings(launches=2, rounds=1, patience=0.0, seed=seed))
    lines = []
    (scoring,) = measure_scorings(
        llama_plain.path, llama_plain.path, Evaluation.of_text(np.array(tokens)), tmp_path, 1, lines.append
    )
    assert scoring.same.launches == 2
    assert scoring.same.value > 0
    low, high = scoring.same.bounds
    assert 0 <= low < scoring.same.value < high < math.inf  # 0 on a machine that others keep busy
    assert lines[0].endswith(" s")
