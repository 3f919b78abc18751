"""Rounds go on until ratios are known."""

from itertools import count

import numpy as np

from compress.benchmarks.measure.speed import measure_speed, ratios_converged
from compress.benchmarks.measure.stopwatch import Stopwatch
from compress.benchmarks.results.scorecard import Settings
from compress.benchmarks.worker.protocol import Decode, Decoded, Generated, Memory, MemoryUse
from compress.progress import Silent
from tests.support.workers import FakeWorker


def test_measuring_goes_on_until_it_is_sure():
    first = [1.0, 2.0, 4.0, 1.0, 2.0]
    steady = [2 * seconds for seconds in first]
    assert ratios_converged([first, steady, steady], 1e-9)
    assert not ratios_converged([first, steady, [*steady[:4], 5.0]], 0.02)  # five rounds' median may be any of them
    assert ratios_converged([first, steady, [*steady[:4], 5.0]], 0.13)
    assert ratios_converged([first * 2, [*(steady * 2)[:9], 5.0]], 0.02)  # one of ten is an outlier


def answer(request):
    """A prompt takes a second, a step half of one."""
    if isinstance(request, Memory):
        return MemoryUse(1000, {"load": 10, "decode": 20}, {"load": 5}, [])
    return Generated(1.0, [0.5] * request.steps, [0] * (request.steps + 1), 1)


def batched(request):
    """The same for several prompts."""
    return Decoded(1.0, [0.5] * request.steps, []) if isinstance(request, Decode) else answer(request)


def test_turns_are_interleaved_and_memory_is_read_before_larger_batches():
    settings = Settings(
        rounds=3, extra=2, prompt=4, steps=2, prefill=8, warmup=1, pause=0.0, lengths=(4,), batches=(2,)
    )
    order, workers = [], [FakeWorker(answer) for _ in range(2)]
    for i, worker in enumerate(workers):
        worker._answer = lambda request, i=i: order.append((i, type(request).__name__)) or batched(request)
    results = measure_speed(workers, np.arange(5), settings, Silent(), Stopwatch())
    for measures, cells in zip(results.measures, results.cells, strict=True):
        assert measures["decode_tps"].rounds == (2.0,) * 3  # the ratio is known: no round more
        assert measures["prefill_tps"].rounds == (8.0,) * 3
        assert (measures["peak_rss"].value, measures["load_s"].value) == (1000, 0.5)
        assert (measures["load_rss"].value, measures["decode_rss"].value) == (10, 20)
        assert measures["load_device"].value == 5
        assert [(cell.length, cell.batch) for cell in cells] == [(4, 2)]
    rounds = [order[4 + 4 * i : 8 + 4 * i] for i in range(3)]  # after a warm-up of two requests each
    assert all([i for i, _ in turn] in ([0, 0, 1, 1], [1, 1, 0, 0]) for turn in rounds)
    names = [name for _, name in order]
    assert names.index("Decode") > len(names) - names[::-1].index("Memory") - 1
    assert results.cores_used_by_others >= 0


def test_rounds_are_added_until_the_ratio_is_known():
    settings = Settings(rounds=2, extra=3, precision=1e-9, prompt=4, steps=2, prefill=8, warmup=1, pause=0.0)
    number = count(1)

    def drifting(request):
        if isinstance(request, Memory):
            return answer(request)
        return Generated(1.0, [float(next(number))] * request.steps, [0] * (request.steps + 1), 1)

    first, second = measure_speed(
        [FakeWorker(answer), FakeWorker(drifting)], np.arange(5), settings, Silent(), Stopwatch()
    ).measures
    assert len(first["decode_tps"].rounds) == len(second["decode_tps"].rounds) == 5
    assert len(first["prefill_tps"].rounds) == 2
