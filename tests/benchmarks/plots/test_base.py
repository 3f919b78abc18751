"""What pictures share: names in a legend, bytes that are the same for the same figures."""

from xml.etree import ElementTree

import pytest
from matplotlib import rc_context

from compress.benchmarks.plots.base import few, new_figure, percent_over_layers, picture


def test_names_in_a_legend_are_few_and_short():
    assert few(["a", "b", "c", "d"]) == "a, b and 2 more"
    assert few(["models/" + "x" * 40]) == "models/" + "x" * 11 + "…" + "x" * 17
    assert few(["a"]) == "a"


def draw_text(figure):
    figure.subplots().set_title("error, %")


def test_text_stays_text_and_the_same_figure_gives_the_same_bytes():
    drawn = picture("name", "svg", draw_text)
    assert drawn == picture("name", "svg", draw_text) != picture("other", "svg", draw_text)
    assert "error, %" in "".join(ElementTree.fromstring(drawn).itertext())
    assert b"<dc:date>" not in drawn


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_picture_is_of_its_suffix(suffix):
    start = {"png": b"\x89PNG", "svg": b"<?xml"}[suffix]
    assert picture("name", suffix, draw_text).startswith(start)


def test_errors_are_drawn_in_percent_over_whole_layers():
    axes = new_figure().subplots()
    axes.plot([0, 1, 2], [0.5, 5, 50])
    percent_over_layers(axes)
    assert (axes.get_yscale(), axes.get_xlabel()) == ("log", "layer")
    assert axes.yaxis.get_major_formatter()(10) == "10"
    assert all(float(tick).is_integer() for tick in axes.get_xticks())


def test_a_style_of_the_users_has_no_say():
    expected = picture("name", "svg", draw_text)
    with rc_context({"axes.titlesize": 40, "text.usetex": True}):
        assert picture("name", "svg", draw_text) == expected
