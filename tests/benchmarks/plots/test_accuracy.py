"""Fronts against the definition: every pair compared."""

from xml.etree import ElementTree

import numpy as np
import pytest

from compress.benchmarks.plots.accuracy import COSTS, Point, draw_front, front, points_of

FIGURES = {"disk_bytes": 100.0, "decode_tps": [10.0, 20.0], "retention": (1.0, 1.0)}


def test_points_are_times_the_originals(card):
    small = {"disk_bytes": 30.0, "decode_tps": [20.0, 40.0], "retention": (0.9, 1.0)}
    scored = card(torch=FIGURES, onnx={}, int8=small)
    size, speed = (points_of(scored, cost) for cost in COSTS)
    assert [(p.name, p.cost, p.accuracy) for p in size] == [("torch", 1.0, 1.0), ("int8", 0.3, 0.95)]
    assert [(p.name, p.cost, p.accuracy) for p in speed] == [("torch", 1.0, 1.0), ("int8", 2.0, 0.95)]
    assert size[1].error == pytest.approx(0.05)


def test_encoders_are_drawn_by_sentences(card):
    figures = {"sentences_ps": [10.0], "retention": 1.0}
    scored = card("encoder", torch=figures, onnx=figures | {"sentences_ps": [15.0]})
    assert [p.cost for p in points_of(scored, COSTS[1])] == [1.0, 1.5]


def test_the_line_is_the_best_accuracy_to_be_had_at_a_size(card):
    """Between two sizes that is the smaller one's: the line leaves the larger one straight down, then goes left."""
    rows = {"torch": (100.0, 1.0), "onnx": (50.0, 0.9), "int4": (25.0, 0.5)}
    scored = card(**{name: {"disk_bytes": size, "retention": retention} for name, (size, retention) in rows.items()})
    root = ElementTree.fromstring(draw_front(COSTS[0], [scored], "svg"))
    paths = [path.get("d").split() for path in root.iter("{http://www.w3.org/2000/svg}path") if path.get("clip-path")]
    steps = next(path for path in paths if len(path) == 3 * 5)  # three points and two corners, a letter before each
    corners = [(float(steps[i + 1]), float(steps[i + 2])) for i in range(0, 15, 3)]
    assert corners[0][0] == corners[1][0]
    assert corners[1][1] == corners[2][1] > corners[0][1]  # an SVG counts downwards
    assert corners[2][0] == corners[3][0] < corners[1][0]


def test_every_run_has_a_name_of_its_own(card):
    run = card(torch=FIGURES, onnx={})
    runs = [run.model_copy(update={"created": day}) for day in ("2026-01-01", "2026-01-02")]
    drawn = [text for text in ElementTree.fromstring(draw_front(COSTS[0], runs, "svg")).itertext() if text.strip()]
    assert {"2026-01-01", "2026-01-02"} <= set(drawn)
    assert any(text.startswith("Accuracy retention against size on disk of each variant") for text in drawn)


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
    best = front(points, better)
    assert {(p.cost, p.accuracy) for p in best} == expected
    assert len(best) == len(expected)
    assert [p.accuracy for p in best] == sorted((p.accuracy for p in best), reverse=True)
