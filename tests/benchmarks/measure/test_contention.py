"""Cores that other programs keep busy."""

from collections import namedtuple

import pytest

from compress.benchmarks.measure import contention
from compress.benchmarks.measure.contention import Contention

Times = namedtuple("Times", "user system idle iowait guest")


def test_on_this_machine_it_is_no_negative_number():
    assert Contention().cores_used_by_others() >= 0


def test_what_is_ours_idle_or_counted_twice_is_left_out(monkeypatch):
    """In 10 s the processors work for 14 s, of which this process has 4 and its ended workers 5; a guest's is twice."""
    clock, machine = iter([0.0, 10.0]), iter([Times(0, 0, 0, 0, 0), Times(10, 4, 5, 1, 1)])
    own = iter([(0, 0, 7, 1, 100), (3, 1, 11, 2, 110)])
    monkeypatch.setattr(contention.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(contention.psutil, "cpu_times", lambda: next(machine))
    monkeypatch.setattr(contention.os, "times", lambda: next(own))
    assert Contention().cores_used_by_others() == pytest.approx((14 - 4 - 5) / 10)
