"""Physical cores, and threads, that a measurement may use."""

import os

import pytest

from compress.system import cores
from compress.system.cores import available_cores, default_threads, granted_threads, most_threads


def test_this_machine_has_one_at_least():
    assert 1 <= available_cores() <= os.cpu_count()


@pytest.mark.parametrize(("quota", "count"), [(None, 2), (1, 1), (8, 2)])
def test_hyperthreads_count_once_and_a_quota_caps(monkeypatch, quota, count):
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(cores, "_siblings", lambda cpu: "0,2" if cpu % 2 == 0 else "1,3")
    monkeypatch.setattr(cores, "quota", lambda: quota)
    assert available_cores() == count


@pytest.mark.parametrize(
    ("words", "count"),
    [(None, 2), ("1", 1), ("16", 16), ("17", 16), ("3,2", 3), ("0", 2), ("-1", 2), ("many", 2), ("", 2)],
)
def test_the_environment_has_the_last_word_on_threads(monkeypatch, words, count):
    monkeypatch.setattr(cores, "available_cores", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if words is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", words)
    assert default_threads() == count


def test_a_core_has_eight_threads_at_most(monkeypatch):
    monkeypatch.setattr(cores, "available_cores", lambda: 3)
    assert most_threads() == 24


def test_as_many_threads_as_are_asked_for_are_granted(monkeypatch):
    monkeypatch.setattr(cores, "available_cores", lambda: 3)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [granted_threads(asked) for asked in (None, 2, 24, 25)] == [3, 2, 24, 24]


@pytest.fixture
def groups(monkeypatch, tmp_path):
    """Write control groups: ``groups("0::/a", {"a/cpu.max": "100000 100000"})``."""

    def write(memberships, files):
        (tmp_path / "own").write_text(memberships)
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        monkeypatch.setattr(cores, "_GROUPS", tmp_path)
        monkeypatch.setattr(cores, "_OWN_GROUPS", tmp_path / "own")

    return write


@pytest.mark.parametrize(
    ("text", "quota"),
    [("max 100000", None), ("250000 100000", 2), ("50000 100000", 1), ("nothing", None), ("1 0", None)],
)
def test_a_cgroups_quota(groups, text, quota):
    groups("0::/", {"cpu.max": text})
    assert cores.quota() == quota


def test_the_least_quota_of_all_groups_above_counts(groups):
    groups("0::/a/b", {"a/b/cpu.max": "800000 100000", "a/cpu.max": "300000 100000", "cpu.max": "max 100000"})
    assert cores.quota() == 3


def test_a_group_of_version_1(groups):
    files = {"cpu/docker/x/cpu.cfs_quota_us": "400000\n", "cpu/docker/x/cpu.cfs_period_us": "100000\n",
             "cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}  # fmt: skip
    groups("5:memory:/x\n4:cpu,cpuacct:/docker/x\n1:name=systemd:/", files)
    assert cores.quota() == 4


def test_a_group_that_is_seen_from_inside_a_container(groups):
    groups("0::/../outside", {"cpu.max": "200000 100000"})
    assert cores.quota() == 2


def test_no_groups(groups, monkeypatch, tmp_path):
    groups("", {})
    assert cores.quota() is None
    monkeypatch.setattr(cores, "_OWN_GROUPS", tmp_path / "missing")
    assert cores.quota() is None
