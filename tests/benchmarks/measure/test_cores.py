"""Physical cores that a measurement may use."""

import os

import pytest

from compress.benchmarks.measure import cores
from compress.benchmarks.measure.cores import available_cores


def test_this_machine_has_one_at_least():
    assert 1 <= available_cores() <= os.cpu_count()


@pytest.mark.parametrize(("quota", "count"), [(None, 2), (1, 1), (8, 2)])
def test_hyperthreads_count_once_and_a_quota_caps(monkeypatch, quota, count):
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(cores, "_siblings", lambda cpu: "0,2" if cpu % 2 == 0 else "1,3")
    monkeypatch.setattr(cores, "_quota", lambda: quota)
    assert available_cores() == count


@pytest.mark.parametrize(
    ("text", "quota"), [("max 100000", None), ("250000 100000", 2), ("50000 100000", 1), ("nothing", None)]
)
def test_a_cgroups_quota(monkeypatch, text, quota):
    monkeypatch.setattr(cores.Path, "read_text", lambda file: text)
    assert cores._quota() == quota
