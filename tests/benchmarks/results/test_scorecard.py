"""Settings of a run, and ratios of its figures."""

import math

from compress.benchmarks.results.scorecard import Settings, ratio
from compress.benchmarks.runtime.decoding import Sampling
from compress.benchmarks.statistics.interval import interval
from compress.modeling.kinds import DECODER, ENCODER

QUICK = Settings(
    launches=2, rounds=2, patience=0.0,
    prompt=16, steps=4, prefill=32, runs=2, batch=2, warmup=1, threads=1, price_per_hour=0.36,
    lengths=(16, 32), batches=(1, 3), longest=34, beams=2, sampling=Sampling(top_k=5),
)  # fmt: skip


def test_no_more_is_decoded_than_the_model_takes_in():
    assert QUICK.cells == [(16, 1), (16, 3), (32, 1), (32, 3)]
    assert [QUICK.steps_after(length) for length in (16, 30, 32, 34)] == [4, 4, 2, 0]
    assert Settings(batches=(2,)).cells == [(128, 2)]
    assert Settings(lengths=(8, 9)).cells == [(8, 1), (9, 1)]
    assert Settings().cells == []


def test_prompts_fit_the_windows():
    assert Settings().within(512, DECODER) == Settings(launches=3, rounds=2, patience=120.0)
    assert Settings().within(128, ENCODER).rounds == 3
    quick = Settings(quick=True).within(512, DECODER)
    assert (quick.launches, quick.rounds, quick.patience) == (3, 1, 0.0)
    assert QUICK.within(40, DECODER).rounds == QUICK.rounds
    small = Settings().within(64, DECODER)
    assert (small.prompt, small.steps, small.prefill) == (32, 32, 64)
    assert Settings().within(128, ENCODER).prompt == 128


def test_ratios_are_taken_launch_by_launch(card):
    drifting = card(torch={"decode_tps": [10.0, 20.0, 40.0]}, onnx={"decode_tps": [20.0, 40.0, 80.0]})
    speedup = ratio(drifting.rows[1], drifting.rows[0], "decode_tps")
    assert (speedup.value, speedup.spread, speedup.medians) == (2.0, 0.0, (2.0, 2.0, 2.0))
    assert ratio(drifting.rows[1], drifting.rows[0], "ttft") is None
    stuck = card(torch={"decode_tps": [0.0, 0.0]}, int8={"decode_tps": [1.0, 1.0]})
    assert ratio(stuck.rows[1], stuck.rows[0], "decode_tps") is None
    uneven = card(torch={"decode_tps": [1.0, 1.0]}, int8={"decode_tps": [3.0]})
    unpaired = ratio(uneven.rows[1], uneven.rows[0], "decode_tps")
    assert (unpaired.value, interval(unpaired)) == (3.0, (-math.inf, math.inf))  # no scatter of pairs is known
