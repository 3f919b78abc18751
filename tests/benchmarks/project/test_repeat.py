"""Scores taken again: how near their ratios lie, whether accuracy is the same, and what isn't measured work."""

import pytest

from compress.benchmarks.project.goals import REPEAT, figure_results
from compress.benchmarks.project.repeat import Repeat, repeat_figures, repeat_lines

RATIOS = (2.0, 2.09, 1.91, 2.05, 1.95, 2.0, 2.0, 2.0, 2.0, 2.2)


def repeats(card, ratios, **facts):
    cards = []
    for i, ratio in enumerate(ratios):
        figures = {"decode_tps": [10.0 * ratio, 11.0 * ratio], "perplexity": 20.0, "peak_rss": 1e9 + i, "load_s": i}
        run = card(torch={"decode_tps": [10.0, 11.0]}, onnx={}, int8=figures | (facts if i else {}))
        seconds = {"load": 3.0, "speed": 20.0, "accuracy": 10.0 + i}
        cards.append(Repeat(run.model_copy(update={"seconds": seconds}), 42.0 + i + i % 2))
    return cards


def test_figures(card):
    figures = repeat_figures(repeats(card, RATIOS))
    assert figures == pytest.approx({"near": 0.9, "same": 1.0, "overhead_s": 12.5 / 3})
    assert [verdict.met for verdict in figure_results(REPEAT, figures)] == [True, True, True]


def test_another_accuracy_is_not_the_same(card):
    figures = repeat_figures(repeats(card, (2.0, 2.0, 2.2, 1.8), perplexity=20.0000001))
    assert (figures["near"], figures["same"]) == (0.5, 0.0)
    assert [verdict.met for verdict in figure_results(REPEAT, figures)] == [False, False, True]


def test_a_line_a_repeat(card):
    lines = repeat_lines(repeats(card, (2.0, 2.1)))
    assert lines[0].split() == ["ratio", "launches", "seconds", "overhead", "others"]
    assert [line.split()[:4] for line in lines[1:]] == [["2.000", "2", "42.0", "4.0"], ["2.100", "2", "44.0", "4.3"]]
