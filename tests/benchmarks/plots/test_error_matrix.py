"""The plot of `compress inspect --plot`: errors, matrix by matrix."""

import pytest

from compress.benchmarks.plots.error_matrix import plot_errors
from compress.checkpoint.files.manifest import LayerReport
from compress.errors import UsageError
from tests.support.manifests import did, manifest


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """The axes that a plot ends up with."""
    from matplotlib.figure import Figure

    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **options: figures.append(self))

    def draw(quantity):
        notice = plot_errors(quantity, tmp_path / "plot.svg")
        return figures[-1].axes[0], notice

    return draw


def points(axes, **look):
    lines = [line for line in axes.lines if all(getattr(line, f"get_{key}")() == value for key, value in look.items())]
    return [(x, round(y, 9)) for line in lines for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]


def test_the_plot_shows_errors_in_percent_with_their_bits(drawn):
    axes, notice = drawn(manifest())
    assert notice is None
    assert axes.get_title(loc="left") == "llama\nint4,fuse"
    assert axes.get_yscale() == "log"
    assert axes.get_ylabel() == "relative squared output error, %"
    assert points(axes, marker="o") == [(0, 1), (1, 4), (1, 2)]  # 4 bits
    assert points(axes, marker="v") == [(0, 20)]  # 2 bits
    assert points(axes, marker="x") == [(0, 20)]  # fell back
    names = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert names == ["mlp.down", "up", "2 bits", "4 bits", "fell back"]


def test_without_output_errors_the_plot_shows_the_weights_own(drawn):
    rounded = manifest().model_copy(deep=True)
    for name, layer in rounded.layers.items():
        weights = {key: did("rtn", None, report.weight_error) for key, report in layer.weights.items()}
        rounded.layers[name] = LayerReport(seconds=0, weights=weights)
    axes, notice = drawn(rounded)
    assert axes.get_ylabel() == "relative squared weight error, %"
    assert points(axes, marker="o") == [(0, 50), (1, 50), (1, 25)]
    assert notice == "no output errors are known, as no statistics were taken; the plot shows the weights' own"


def test_nothing_to_plot_is_refused(drawn):
    with pytest.raises(UsageError, match="nothing to plot: int4,fuse reported no error of a layer's matrices"):
        drawn(manifest(layers={}))
