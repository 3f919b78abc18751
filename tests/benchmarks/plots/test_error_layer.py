"""Errors over layers, of all variants of a report."""

from xml.etree import ElementTree

from compress.benchmarks.plots.error_layer import PICTURES
from compress.benchmarks.results.layer_errors import LayerErrors

(DRAW,) = PICTURES.values()
ERRORS = LayerErrors("outputs", (0, 1), (0.01, 0.02))


def words(picture):
    return [text for text in ElementTree.fromstring(picture).itertext() if text.strip()]


def test_variants_of_the_same_errors_are_one_line(card):
    rough = LayerErrors("weights", (0, 1), (0.03, 0.05))
    run = card(torch={}, onnx={}, int8={"errors": ERRORS}, fused={"errors": ERRORS}, int4={"errors": rough})
    names = words(DRAW([run], "svg"))
    assert "int8, fused" in names
    assert "int4 (its weights)" in names
    assert "relative squared output error of the worst matrix, %" in names


def test_several_runs_are_told_apart(card):
    runs = [card(model=name, torch={}, onnx={}, int8={"errors": ERRORS}) for name in ("one", "two")]
    assert "one: int8, two: int8" in words(DRAW(runs, "svg"))


def test_without_errors_there_is_nothing_to_draw(card):
    assert DRAW([card(torch={}, onnx={}, int8={})], "png") is None
