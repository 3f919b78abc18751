"""Memory bandwidth: bytes over the seconds of the best round."""

from types import SimpleNamespace

import pytest

from compress.benchmarks.measure import bandwidth
from compress.benchmarks.measure.bandwidth import read_bandwidth


def test_it_is_measured_on_this_machine():
    assert read_bandwidth(2, size=1 << 20, rounds=2) > 0


def test_the_best_round_counts_and_every_thread_has_its_part(monkeypatch):
    seconds, shapes = iter([0.5, 0.25, 1.0]), []

    def take(parts):
        shapes.append([len(part) for part in parts])
        return next(seconds)

    monkeypatch.setattr(bandwidth, "_seconds", take)
    assert read_bandwidth(3, size=8 * 1000, rounds=3) == pytest.approx(8000 / 0.25)
    assert shapes == [[334, 333, 333]] * 3


def test_a_round_ends_with_its_last_thread(monkeypatch):
    now = iter([3.0, 3.5])
    monkeypatch.setattr(bandwidth.time, "perf_counter", lambda: next(now))
    read = []
    parts = [SimpleNamespace(max=lambda i=i: read.append(i)) for i in range(3)]
    assert bandwidth._seconds(parts) == 0.5
    assert sorted(read) == [0, 1, 2]


@pytest.mark.parametrize(("cache", "size"), [(0, 1 << 28), (1 << 26, 1 << 29), (1 << 30, 1 << 30)])
def test_an_array_leaves_the_caches_of_all_threads(monkeypatch, cache, size):
    sizes = []
    monkeypatch.setattr(bandwidth, "_cache_size", lambda: cache)
    monkeypatch.setattr(bandwidth.np, "ones", lambda count, dtype: sizes.append(8 * count) or bandwidth.np.zeros(2))
    monkeypatch.setattr(bandwidth, "_seconds", lambda parts: 1.0)
    read_bandwidth(2, rounds=1)
    assert sizes == [size]
