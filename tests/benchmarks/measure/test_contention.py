"""Cores that other programs keep busy."""

from collections import namedtuple

import pytest

from compress.benchmarks.measure import contention
from compress.benchmarks.measure.contention import Contention

Times = namedtuple("Times", "user system idle iowait guest")
Own = namedtuple("Own", "user system")


def test_on_this_machine_it_is_no_negative_number():
    assert Contention([]).cores_used_by_others() >= 0


def test_what_is_ours_idle_or_counted_twice_is_left_out(monkeypatch):
    """In 10 s the processors work for 14 s, of which this process has 4 and its worker 5; a guest's second is twice."""
    clock, machine = iter([0.0, 10.0]), iter([Times(0, 0, 0, 0, 0), Times(10, 4, 5, 1, 1)])
    own = {1: iter([Own(0, 0), Own(3, 1)]), 2: iter([Own(7, 0), Own(11, 1)])}

    class Process:
        def __init__(self, pid):
            self._pid = pid

        def cpu_times(self):
            return next(own[self._pid])

    monkeypatch.setattr(contention.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(contention.psutil, "cpu_times", lambda: next(machine))
    monkeypatch.setattr(contention.psutil, "Process", Process)
    monkeypatch.setattr(contention.os, "getpid", lambda: 1)
    assert Contention([2]).cores_used_by_others() == pytest.approx((14 - 4 - 5) / 10)
