"""A launch of workers whose seconds are made up."""

import random
from contextlib import contextmanager

import numpy as np

from compress.benchmarks.measure.launch import Workload, launch
from compress.benchmarks.measure.stopwatch import Stopwatch
from compress.benchmarks.results.scorecard import Settings
from compress.benchmarks.worker.protocol import Decode, Decoded, EncodingTimes, Generated, Memory, MemoryUse
from compress.modeling.kinds import ENCODER
from tests.support.workers import FakeWorker

SETTINGS = Settings(launches=1, rounds=2, prompt=4, steps=2, prefill=8, warmup=1, lengths=(4,), batches=(2,))


def answer(request):
    """A prompt takes a second, a step half of one."""
    if isinstance(request, Memory):
        return MemoryUse(1000, {"load": 10, "decode": 20}, {"load": 5}, [])
    if isinstance(request, Decode):
        return Decoded(1.0, [0.5] * request.steps, [])
    return Generated(1.0, [0.5] * request.steps, [0] * (request.steps + 1), 1)


def launched(worker, settings=SETTINGS):
    ended = []

    @contextmanager
    def start(contender):
        assert contender == "the contender"
        yield worker
        ended.append(True)

    clock = Stopwatch()
    measured = launch("the contender", start, Workload(np.arange(16), settings), random.Random(0), clock)
    assert ended == [True]
    return measured, clock


def test_its_figures_are_speed_memory_and_load():
    measured, clock = launched(FakeWorker(answer))
    figures = measured.figures
    assert figures["decode_tps"] == [2.0, 2.0]
    assert figures["prefill_tps"] == [8.0, 8.0]
    assert (figures["peak_rss"], figures["load_s"]) == ([1000.0], [0.5])
    assert (figures["load_rss"], figures["decode_rss"], figures["load_device"]) == ([10.0], [20.0], [5.0])
    assert measured.cells[4, 2]["decode_tps"] == [4.0, 4.0]
    assert clock.seconds.keys() == {"load", "warm-up", "speed"}


def test_memory_is_read_before_larger_batches():
    worker = FakeWorker(answer)
    launched(worker)
    names = [type(request).__name__ for request in worker.requests]
    assert names == [*["Generate"] * 6, "Memory", *["Decode"] * 3]


def test_an_encoder_embeds():
    def embed(request):
        return answer(request) if isinstance(request, Memory) else EncodingTimes([0.25] * request.repeats)

    measured, _ = launched(FakeWorker(embed, ENCODER))
    assert measured.figures["latency_p50"] == [0.25, 0.25]
