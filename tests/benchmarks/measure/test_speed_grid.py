"""Lengths, batches and ways to decode, measured on workers whose seconds are made up."""

import random

import numpy as np
import pytest

from compress.benchmarks.measure.speed_grid import measure_grid
from compress.benchmarks.measure.stopwatch import Stopwatch
from compress.benchmarks.results.scorecard import Settings
from compress.benchmarks.runtime.decoding import Sampling
from compress.benchmarks.worker.protocol import Decode, Decoded, EncodingTimes, Generate, Generated
from compress.modeling.kinds import ENCODER
from tests.support.workers import FakeWorker

SETTINGS = Settings(
    rounds=2, prompt=4, steps=3, runs=6, warmup=1, lengths=(4, 8), batches=(1, 2), longest=9,
    beams=2, sampling=Sampling(top_k=5), seed=7, launches=1,
)  # fmt: skip


def answer(request):
    """A prompt takes 10 ms a token, a step half a second."""
    steps = [0.5] * request.steps
    if isinstance(request, Generate):
        return Generated(request.ids.size / 100, steps, [0] * (request.steps + 1), 1)
    return Decoded(request.ids.size / 100, steps, [])


def measured(worker, settings=SETTINGS):
    clock = Stopwatch()
    return *measure_grid(worker, np.arange(20), settings, random.Random(0), clock), clock


def test_every_cell_has_its_rates():
    modes, cells, clock = measured(FakeWorker(answer))
    assert modes.keys() == {"beam_tps", "sample_tps"}
    assert modes["beam_tps"] == [2.0, 2.0]  # of one text, however many beams
    assert list(cells) == [(4, 1), (4, 2), (8, 1), (8, 2)]
    for (length, batch), figures in cells.items():
        assert figures["ttft"] == pytest.approx([length * batch / 100] * 2)
        assert figures["prefill_tps"] == pytest.approx([100] * 2)
    assert cells[4, 2]["decode_tps"] == [4.0, 4.0]
    assert [cells[4, 2][f"itl_p{q}"] for q in (50, 95, 99)] == [[0.5]] * 3
    assert "decode_tps" not in cells[8, 2]  # a single token fits behind 8 of 9
    assert clock.seconds.keys() == {"warm-up", "speed"}


def test_ways_to_decode_are_asked_for_with_their_options():
    worker = FakeWorker(answer)
    measured(worker)
    options = {(request.beams, request.sampling) for request in worker.requests if isinstance(request, Decode)}
    assert options == {(None, None), (2, None), (None, SETTINGS.sampling)}
    assert {request.seed for request in worker.requests if isinstance(request, Decode) and request.sampling} == {7}


def test_an_engine_without_batches_is_left_out_of_them():
    modes, cells, _ = measured(FakeWorker(answer, batches=False))
    assert modes == {}
    assert list(cells) == [(4, 1), (8, 1)]


def test_encoders_embed_batches():
    worker = FakeWorker(lambda request: EncodingTimes([len(request.ids) / 2] * request.repeats), ENCODER)
    modes, cells, _ = measured(worker)
    assert modes == {}
    assert [figures["latency_p50"] for figures in cells.values()] == [[0.5] * 2, [1.0] * 2, [0.5] * 2, [1.0] * 2]
    assert [figures["latency_p95"] for figures in cells.values()] == [[0.5], [1.0], [0.5], [1.0]]
    assert all(figures["sentences_ps"] == [2.0, 2.0] for figures in cells.values())
    assert [request.repeats for request in worker.requests[:4]] == [1] * 4
    assert {request.repeats for request in worker.requests[4:]} == {6, 3}
