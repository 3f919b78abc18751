"""Launches go round, one at a time, until ratios are known."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

from compress.benchmarks.measure import speed
from compress.benchmarks.measure.launch import Workload
from compress.benchmarks.measure.speed import launch_rounds, measure_speed, ratios_known
from compress.benchmarks.measure.stopwatch import Stopwatch
from compress.benchmarks.results.scorecard import Settings
from compress.benchmarks.worker.protocol import Generated, Memory, MemoryUse
from compress.modeling.kinds import DECODER
from compress.progress import Silent
from tests.support.workers import FakeWorker

SETTINGS = Settings(launches=3, rounds=1, patience=0.0, prompt=4, steps=2, prefill=8, warmup=1)


class Contenders:
    """Contenders of a name, whose step takes ``seconds(name, launch)``; ``order`` is in which they were launched."""

    def __init__(self, names, seconds, path=None):
        self.every = [SimpleNamespace(name=name, kind=DECODER, path=path) for name in names]
        self.order = []
        self._seconds = seconds
        self._running = 0

    @contextmanager
    def start(self, contender):
        """A worker; no other may be there."""
        assert not self._running
        self._running += 1
        self.order.append(contender.name)
        step = self._seconds(contender.name, self.order.count(contender.name))
        worker = FakeWorker(lambda request: self._answer(request, step))
        worker.load_seconds = float(len(self.order))
        yield worker
        self._running -= 1

    @staticmethod
    def _answer(request, step):
        if isinstance(request, Memory):
            return MemoryUse(1000, {}, {}, [])
        return Generated(1.0, [step] * request.steps, [0] * (request.steps + 1), 1)

    def measured(self, settings):
        return measure_speed(self.every, self.start, Workload(np.arange(5), settings), Silent(), Stopwatch())


@pytest.fixture(autouse=True)
def _nothing_is_dropped(monkeypatch):
    monkeypatch.setattr(speed, "drop_cached", lambda path: None)


def test_each_contender_is_launched_alone_and_takes_every_place():
    contenders = Contenders("abc", lambda name, launch: 0.5)
    results = contenders.measured(SETTINGS)
    rounds = [contenders.order[i : i + 3] for i in (0, 3, 6)]
    assert all(sorted(names) == ["a", "b", "c"] for names in rounds)
    assert rounds[1] == rounds[0][1:] + rounds[0][:1]
    assert rounds[2] == rounds[1][1:] + rounds[1][:1]
    assert len(contenders.order) == 9
    assert [len(measures["decode_tps"].launches) for measures in results.measures] == [3, 3, 3]
    assert results.cores_used_by_others >= 0


def test_orders_are_drawn_by_the_seed():
    orders = set()
    for seed in range(8):
        contenders = Contenders("abcd", lambda name, launch: 0.5)
        contenders.measured(SETTINGS.model_copy(update={"seed": seed}))
        orders.add("".join(contenders.order[:4]))
    assert len(orders) > 4


def test_a_figure_is_the_median_of_the_launches():
    contenders = Contenders("ab", lambda name, launch: launch / 4 if name == "a" else 0.5)
    first, second = contenders.measured(SETTINGS).measures
    assert first["decode_tps"].launches == ((4.0,), (2.0,), (4 / 3,))
    assert (first["decode_tps"].value, second["decode_tps"].value) == (2.0, 2.0)


def test_the_first_load_is_that_of_files_on_the_disk(monkeypatch):
    dropped = []
    monkeypatch.setattr(speed, "drop_cached", dropped.append)
    contenders = Contenders("ab", lambda name, launch: 0.5, path="folder")
    measures = contenders.measured(SETTINGS).measures[contenders.order[0] == "b"]
    assert dropped == ["folder", "folder"]
    assert measures["load_cold_s"].launches == ((1.0,),)
    assert len(measures["load_s"].launches) == 2
    alone = Contenders("a", lambda name, launch: 0.5, path="folder")
    (measures,) = alone.measured(SETTINGS.model_copy(update={"launches": 1})).measures
    assert len(dropped) == 2
    assert measures["load_s"].launches == ((1.0,),)


def test_launches_are_added_until_the_ratio_is_known_and_once_more():
    """The ratios are 1, 2, 1, 1, ...: their interval narrows with every launch."""
    contenders = Contenders("ab", lambda name, launch: 1.0 if (name, launch) == ("b", 2) else 0.5)
    patient = SETTINGS.model_copy(update={"patience": 1e6, "precision": 0.2})
    first, second = (measures["decode_tps"].medians for measures in contenders.measured(patient).measures)
    ratios = [b / a for a, b in zip(first, second, strict=True)]
    assert len(ratios) > 5
    assert ratios_known([[1.0] * (len(ratios) - 1), ratios[:-1]], 0.2)
    assert not ratios_known([[1.0] * (len(ratios) - 2), ratios[:-2]], 0.2)


def test_no_launch_is_begun_that_would_end_too_late(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(speed.time, "monotonic", lambda: now[0])

    def seconds(name, launch):
        now[0] += 10.0
        return launch

    patient = SETTINGS.model_copy(update={"patience": 55.0, "precision": 1e-9})
    contenders = Contenders("ab", lambda name, launch: seconds(name, launch) if name == "a" else seconds(name, 1))
    contenders.measured(patient)
    assert len(contenders.order) == 10  # five launches of each in 100 s; a sixth would end at 120 s, of 110


def test_what_is_known_of_a_ratio_is_its_interval():
    first = [1.0, 2.0, 4.0, 1.0, 2.0]
    steady = [2 * seconds for seconds in first]
    assert ratios_known([first, steady, steady], 1e-9)
    assert not ratios_known([first, steady, [*steady[:4], 4.4]], 0.02)
    assert ratios_known([first, steady, [*steady[:4], 4.1]], 0.02)
    assert ratios_known([first], 1e-9)
    assert not ratios_known([[1.0], [2.0]], 0.5)


def test_a_round_follows_once_ratios_are_known():
    """Two contenders whose ratio is 2 in every round but the first."""
    medians = ([], [])
    numbers = []
    for number in launch_rounds(3, 0.2, lambda: medians, lambda number: number > 9):
        numbers.append(number)
        medians[0].append(1.0)
        medians[1].append(2.5 if number == 1 else 2.0)
    known = next(n for n in numbers if n > 1 and ratios_known([medians[0][:n], medians[1][:n]], 0.2))
    assert numbers == list(range(1, known + 2))
    assert list(launch_rounds(3, 0.2, lambda: ([], []), lambda number: True)) == [1, 2, 3]
