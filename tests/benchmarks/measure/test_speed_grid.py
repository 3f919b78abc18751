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
from compress.progress import Silent
from tests.support.workers import FakeWorker

SETTINGS = Settings(
    rounds=2, prompt=4, steps=3, runs=6, warmup=1, pause=0.0, lengths=(4, 8), batches=(1, 2), longest=9,
    beams=2, sampling=Sampling(top_k=5), seed=7,
)  # fmt: skip


def answer(request):
    """A prompt takes 10 ms a token, a step half a second."""
    steps = [0.5] * request.steps
    if isinstance(request, Generate):
        return Generated(request.ids.size / 100, steps, [0] * (request.steps + 1), 1)
    return Decoded(request.ids.size / 100, steps, [])


def measured(*workers, settings=SETTINGS):
    clock = Stopwatch()
    return measure_grid(workers, np.arange(20), settings, random.Random(0), Silent(), clock), clock


def test_every_cell_has_its_rates():
    ((modes, cells),), clock = measured(FakeWorker(answer))
    assert modes.keys() == {"beam_tps", "sample_tps"}
    assert modes["beam_tps"].rounds == (2.0, 2.0)  # of one text, however many beams
    assert [(cell.length, cell.batch) for cell in cells] == [(4, 1), (4, 2), (8, 1), (8, 2)]
    for cell in cells:
        assert cell.measures["ttft"].value == pytest.approx(cell.length * cell.batch / 100)
        assert cell.measures["prefill_tps"].value == pytest.approx(100)
    assert cells[1].measures["decode_tps"].value == 4.0
    assert "decode_tps" not in cells[3].measures  # a single token fits behind 8 of 9
    assert clock.seconds.keys() == {"warm-up", "pauses", "speed"}


def test_ways_to_decode_are_asked_for_with_their_options():
    worker = FakeWorker(answer)
    measured(worker)
    options = {(request.beams, request.sampling) for request in worker.requests if isinstance(request, Decode)}
    assert options == {(None, None), (2, None), (None, SETTINGS.sampling)}
    assert {request.seed for request in worker.requests if isinstance(request, Decode) and request.sampling} == {7}


def test_an_engine_without_batches_is_left_out_of_them():
    (_, (modes, cells)), _ = measured(FakeWorker(answer), FakeWorker(answer, batches=False))
    assert modes == {}
    assert [(cell.length, cell.batch) for cell in cells] == [(4, 1), (8, 1)]


def test_encoders_embed_batches():
    worker = FakeWorker(lambda request: EncodingTimes([len(request.ids) / 2] * request.repeats), ENCODER)
    ((modes, cells),), _ = measured(worker)
    assert modes == {}
    assert [cell.measures["latency_p50"].value for cell in cells] == [0.5, 1.0, 0.5, 1.0]
    assert {cell.measures["sentences_ps"].value for cell in cells} == {2.0}
    assert [request.repeats for request in worker.requests[:4]] == [1] * 4
    assert {request.repeats for request in worker.requests[4:]} == {6, 3}
