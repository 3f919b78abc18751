"""Labels overlap neither each other nor a point."""

import numpy as np
import pytest
from matplotlib.text import Annotation, Text

from compress.benchmarks.plots.base import new_figure
from compress.benchmarks.plots.labels import label_points, merged


def drawn(points):
    figure = new_figure()
    axes = figure.subplots()
    axes.plot([x for _, x, _ in points], [y for _, _, y in points], "o", markersize=5)
    axes.margins(x=0.15, y=0.1)
    return figure, axes


@pytest.mark.parametrize("seed", range(4))
def test_twelve_points_close_together(seed):
    at = 1 + np.random.default_rng(seed).normal(0, (0.02, 0.004), (12, 2)) * np.repeat([1, 10], 6)[:, None]
    points = [(f"int4:group={i}:solver=gptq,fuse", float(x), float(y)) for i, (x, y) in enumerate(at)]
    figure, axes = drawn(points)
    left_out = label_points(figure, axes, points)
    labels = [child for child in axes.get_children() if isinstance(child, Annotation)]
    boxes = [Text.get_window_extent(label) for label in labels]
    assert left_out == []
    assert len(labels) == len(merged(axes, points))
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
        assert not any(box.contains(*axes.transData.transform((x, y))) for _, x, y in points)
        assert axes.bbox.x0 <= box.x0
        assert box.x1 <= axes.bbox.x1


def test_marks_at_one_place_share_a_label():
    points = [("torch", 1.0, 1.0), ("onnx float", 1.0001, 1.0), ("int8", 0.3, 0.99), ("torch", 1.0, 1.0)]
    figure, axes = drawn(points)
    assert label_points(figure, axes, points) == []
    assert [place.names for place in merged(axes, points)] == [("torch", "onnx float"), ("int8",)]
    assert [text.get_text() for text in axes.texts] == ["torch, onnx float", "int8"]


def test_no_points():
    figure, axes = drawn([])
    assert label_points(figure, axes, []) == []
