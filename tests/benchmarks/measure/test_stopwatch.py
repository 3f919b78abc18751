"""Phases of a scoring run."""

import time

import pytest

from compress.benchmarks.measure.stopwatch import Stopwatch


def test_laps_of_a_phase_add_up(monkeypatch):
    now = iter([0.0, 1.0, 3.0, 7.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    clock = Stopwatch()
    for phase in ("load", "speed", "load"):
        clock.lap(phase)
    assert clock.seconds == pytest.approx({"load": 5.0, "speed": 2.0})
    assert list(clock.seconds) == ["load", "speed"]
