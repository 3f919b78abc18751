"""How a run was measured, in sentences."""

import pytest

from compress.benchmarks.results.method import machine_facts, method_facts
from compress.benchmarks.results.scorecard import Settings
from compress.benchmarks.runtime.decoding import Sampling

FIGURES = {"decode_tps": [10.0, 11.0]}


def facts(card, kind="decoder", seconds=None, **settings):
    run = card(kind, torch=FIGURES, onnx=FIGURES)
    return method_facts(run.model_copy(update={"settings": Settings(**settings), "seconds": seconds or {}}))


def test_every_kind_says_what_was_read_and_compared(card):
    writing = "\n".join(facts(card))
    assert "a prompt of 128 tokens; decoding: 32 greedy tokens after it" in writing
    assert "Accuracy: 8 windows of 512 tokens, on the exported artifact." in writing
    assert "Memory bandwidth: 10.0 GB/s read by 2 threads" in writing
    reading = "\n".join(facts(card, "encoder"))
    assert "Latency: one sentence of 128 tokens, 20 times a round; sentences/s: batches of 8." in reading
    assert "cosine of the sentence embeddings" in reading
    assert "Latency: one image, 20 times a round; images/s: batches of 8." in facts(card, "image-classifier")


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"beams": 4}, "Beam search: 4 beams; tokens/s are those of one text."),
        ({"sampling": Sampling(top_k=5), "seed": 3}, "Sampling: top_k=5, top_p=1, temperature=1, seed 3."),
        ({"price_per_hour": 0.5}, "Cost: an hour of the machine at 0.5."),
        (
            {"lengths": (8,)},
            "By length and batch: prompts, then 32 greedy tokens or what fits, every row of a batch equally long; "
            "launches and rounds as above.",
        ),
    ],
)
def test_what_was_asked_for_besides_has_its_line(card, settings, line):
    assert line in facts(card, **settings)
    assert line not in facts(card)


def test_launches_are_counted_and_why_they_were_added_is_told(card):
    (line, *_), (plain, *_) = facts(card, rounds=2, patience=90, precision=0.01), facts(card, rounds=2)
    assert plain == (
        "Speed: every contender was launched 2 times, each time in a fresh process that ran alone, with 2 rounds after "
        "a warm-up, 2 threads and huge pages where the system has them, in an order that was drawn (seed 0) and "
        "rotated."
    )
    assert line == (
        f"{plain} Launches were added until each ratio of speed to the original was known to ±1%, or 90 s a contender "
        "were over."
    )


def test_time_is_measured_work_and_what_is_besides(card):
    line = facts(card, seconds={"load": 3.0, "speed": 20.0, "accuracy": 10.0, "pauses": 1.0})[-1]
    assert line == (
        "Scoring took 34.0 s: 30.0 s of measured work (speed 20.0, accuracy 10.0) and 4.0 s besides "
        "(load 3.0, pauses 1.0), 2.0 s a row."
    )


def test_the_machine_is_told_with_what_else_it_did(card):
    assert machine_facts(card(torch=FIGURES, others=0.25)) == [
        "processor: a processor",
        "load average when measuring began: 0.00; other programs kept 0.25 cores busy while speed was measured",
        "python 3",
        "2026-01-01T00:00:00+00:00",
    ]
