"""Turns of one contender against workers whose seconds are made up."""

from itertools import count

import numpy as np
import pytest

from compress.benchmarks.measure.turns import READ_RATE, DecoderTurns, EncoderTurns
from compress.benchmarks.results.scorecard import Settings
from compress.benchmarks.worker.protocol import EncodingTimes, Generate, Generated, TimeEncoding
from compress.modeling.kinds import ENCODER
from tests.support.workers import FakeWorker

SETTINGS = Settings(prompt=4, steps=2, prefill=8, runs=3, batch=2, warmup=1)
TOKENS = np.arange(16)


def decoder(seconds, read_bytes=None):
    """Every step takes ``seconds``, and every prompt a tenth of a second more than the one before."""
    number = count(1)

    def answer(request):
        return Generated(next(number) / 10, [seconds] * request.steps, [0] * (request.steps + 1), 100)

    return FakeWorker(answer, read_bytes=read_bytes)


def test_a_decoders_turn_is_a_prompt_with_steps_and_a_long_prompt():
    worker = decoder(1.0)
    turns = DecoderTurns(worker, TOKENS, SETTINGS)
    turns.warm_up()
    turns.turn()
    requests = [(request.ids.tolist(), request.steps) for request in worker.requests]
    assert all(isinstance(request, Generate) for request in worker.requests)
    assert requests == [([0, 1, 2, 3], 1), (list(range(8)), 0), ([0, 1, 2, 3], 2), (list(range(8)), 0)]


def test_a_decoders_figures_are_of_its_rounds():
    turns = DecoderTurns(decoder(1.0, read_bytes=1000), TOKENS, SETTINGS)
    turns.turn()
    turns.turn()
    turns.extra_turn()
    measures = turns.measures()
    assert turns.rates == [1.0, 1.0, 1.0]
    assert measures["ttft"].rounds == pytest.approx((0.1, 0.3, 0.5))
    assert measures["prefill_tps"].rounds == pytest.approx((8 / 0.2, 8 / 0.4))
    assert measures["itl_p99"].value == 1.0
    assert measures[READ_RATE].rounds == pytest.approx([1000 + 100 * (4 + 1)] * 3)


def test_what_takes_no_time_is_decoded_again():
    """Two steps of 0.125 s are a quarter of a turn; of 1 µs, eight readings are the most."""
    for seconds, readings in ((0.125, 4), (1e-6, 8), (0.5, 1)):
        worker = decoder(seconds)
        turns = DecoderTurns(worker, TOKENS, SETTINGS)
        turns.extra_turn()
        assert len(worker.requests) == readings
        assert turns._first == pytest.approx([np.median(range(1, readings + 1)) / 10])


def test_an_encoders_figures_are_of_single_sentences_and_a_batch():
    worker = FakeWorker(lambda request: EncodingTimes([len(request.ids) / 4] * request.repeats), ENCODER)
    turns = EncoderTurns(worker, TOKENS, SETTINGS)
    turns.warm_up()
    turns.turn()
    turns.extra_turn()
    assert all(isinstance(request, TimeEncoding) for request in worker.requests)
    assert [(*request.ids.shape, request.repeats) for request in worker.requests] == [
        (1, 4, 1), (2, 4, 1), (1, 4, 3), (2, 4, 2), (1, 4, 3)
    ]  # fmt: skip
    assert turns.rates == [4.0, 4.0]
    measures = turns.measures()
    assert (measures["latency_p50"].value, measures["sentences_ps"].value) == (0.25, 4.0)
    assert (len(measures["latency_p95"].rounds), len(measures["sentences_ps"].rounds)) == (2, 1)
