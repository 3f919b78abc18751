"""Turns of one contender against workers whose seconds are made up, so that every figure is known exactly."""

from itertools import count

import numpy as np
import pytest

from compress.benchmarks.measure.turns import READ_RATE, DecoderTurns, EncoderTurns
from compress.benchmarks.results.scorecard import Settings
from compress.benchmarks.worker.protocol import ClassifiedImages, EncodingTimes, Generate, Generated, TimeEncoding
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
    turns = DecoderTurns(decoder(0.5, read_bytes=1000), TOKENS, SETTINGS)
    turns.turn()  # a prompt in 0.1 s with 1 s of steps: once; the long prompt in 0.2 s
    turns.turn()
    figures = turns.figures()
    assert figures["decode_tps"] == [2.0, 2.0]
    assert figures["ttft"] == pytest.approx([0.1, 0.3])
    assert figures["prefill_tps"] == pytest.approx([8 / 0.2, 8 / 0.4])
    assert [figures[f"itl_p{q}"] for q in (50, 95, 99)] == [[0.5]] * 3
    assert figures[READ_RATE] == pytest.approx([2 * (1000 + 100 * (4 + 1))] * 2)


def test_quantiles_are_over_the_steps_of_all_rounds():
    seconds = iter([[1.0, 2.0], [], [3.0, 10.0], []])
    turns = DecoderTurns(FakeWorker(lambda request: Generated(1.0, next(seconds), [], 0)), TOKENS, SETTINGS)
    turns.turn()
    turns.turn()
    figures = turns.figures()
    assert figures["decode_tps"] == pytest.approx([2 / 3, 2 / 13])
    for q in (50, 95, 99):
        assert figures[f"itl_p{q}"] == pytest.approx([np.percentile([1.0, 2.0, 3.0, 10.0], q)])


def test_what_takes_no_time_is_decoded_again():
    """Two steps of 0.125 s are a quarter of a turn; of 1 µs, eight readings are the most."""
    for seconds, readings in ((0.125, 4), (1e-6, 8), (0.5, 1)):
        worker = decoder(seconds)
        turns = DecoderTurns(worker, TOKENS, SETTINGS)
        turns.turn()
        assert len(worker.requests) == readings + 1
        assert turns.figures()["ttft"] == pytest.approx([np.median(range(1, readings + 1)) / 10])


def test_what_a_device_reads_is_no_share_of_this_machines_memory():
    worker = decoder(0.5, read_bytes=1000)
    worker.on_device = True
    turns = DecoderTurns(worker, TOKENS, SETTINGS)
    turns.turn()
    assert READ_RATE not in turns.figures()


def test_an_encoders_figures_are_of_single_sentences_and_a_batch():
    seconds = iter([[9.0], [9.0], [0.1, 0.2, 0.9], [0.5, 1.5], [0.4, 0.4, 0.4], [2.0, 2.0]])
    worker = FakeWorker(lambda request: EncodingTimes(next(seconds)), ENCODER)
    turns = EncoderTurns(worker, TOKENS, SETTINGS)
    turns.warm_up()
    turns.turn()
    turns.turn()
    assert all(isinstance(request, TimeEncoding) for request in worker.requests)
    assert [(*request.ids.shape, request.repeats) for request in worker.requests] == [
        (1, 4, 1), (2, 4, 1), (1, 4, 3), (2, 4, 2), (1, 4, 3), (2, 4, 2)
    ]  # fmt: skip
    figures = turns.figures()
    assert figures["latency_p50"] == [0.2, 0.4]
    assert figures["latency_p95"] == pytest.approx([np.percentile([0.1, 0.2, 0.9, 0.4, 0.4, 0.4], 95)])
    assert figures["sentences_ps"] == [2 / 1.0, 2 / 2.0]


def test_images_are_classified_in_the_place_of_sentences():
    class Images:
        def classify(self, worker, rows, repeats):
            return ClassifiedImages([len(rows) / 4] * repeats, np.zeros((len(rows), 2)))

    turns = EncoderTurns(FakeWorker(lambda request: None, ENCODER), TOKENS, SETTINGS, Images())
    turns.turn()
    assert turns.figures()["images_ps"] == [4.0]
    assert turns.figures()["latency_p50"] == [0.25]
