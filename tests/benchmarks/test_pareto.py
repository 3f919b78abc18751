"""Fronts against the definition: every pair compared."""

import numpy as np
import pytest

from compress.benchmarks.pareto import COSTS, Point, front, points_of

FIGURES = {"disk_bytes": 100.0, "decode_tps": [10.0, 20.0], "retention": (1.0, 1.0)}


def test_points_are_times_the_originals(card):
    small = {"disk_bytes": 30.0, "decode_tps": [20.0, 40.0], "retention": (0.9, 1.0)}
    made = card(torch=FIGURES, onnx={}, int8=small)
    size, speed = (points_of(made, cost) for cost in COSTS)
    assert [(p.name, p.cost, p.accuracy) for p in size] == [("torch", 1.0, 1.0), ("int8", 0.3, 0.95)]
    assert [(p.name, p.cost, p.accuracy) for p in speed] == [("torch", 1.0, 1.0), ("int8", 2.0, 0.95)]
    assert size[1].error == pytest.approx(0.05)


def test_encoders_are_drawn_by_sentences(card):
    figures = {"sentences_ps": [10.0], "retention": 1.0}
    made = card("encoder", torch=figures, onnx=figures | {"sentences_ps": [15.0]})
    assert [p.cost for p in points_of(made, COSTS[1])] == [1.0, 1.5]


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_a_front_is_what_nothing_beats(better):
    drawn = np.random.default_rng(0).integers(0, 12, (60, 2)) / 10
    points = [Point(str(i), cost, accuracy, 0.0, "variant") for i, (cost, accuracy) in enumerate(drawn)]
    sign = 1 if better == "lower" else -1

    def beaten(point):
        return any(
            other.accuracy >= point.accuracy
            and sign * other.cost <= sign * point.cost
            and (other.accuracy, other.cost) != (point.accuracy, point.cost)
            for other in points
        )

    expected = {(p.cost, p.accuracy) for p in points if not beaten(p)}
    found = front(points, better)
    assert {(p.cost, p.accuracy) for p in found} == expected
    assert len(found) == len(expected)
    assert [p.accuracy for p in found] == sorted((p.accuracy for p in found), reverse=True)
