"""Layers, totals and fallbacks, counted by hand on a manifest written out here."""

from pathlib import Path

import pytest

from compress.benchmarks.plots.matrix_errors import plot_errors
from compress.checkpoint.license import License
from compress.checkpoint.manifest import LayerReport, Manifest, Source
from compress.checkpoint.model_card import write_card
from compress.checkpoint.summary import fallback_notice, layers_of, total
from compress.errors import UsageError
from compress.weights.stored import StoredForm, WeightReport

SHAPE = (16, 32)


def stored(bits):
    return StoredForm(form="quantized", shape=SHAPE, nbytes=16 * 32 * bits // 8 + 32, bits=bits, group=32)


def did(solver, error, weight_error=0.5):
    return WeightReport(solver=solver, error=error, weight_error=weight_error)


def manifest(**changes):
    """An embedding, two layers of two matrices, a head that nothing changed."""
    down, up = "model.layers.{}.mlp.down.weight", "model.layers.{}.up.weight"
    singular = "rtn (fallback: singular Hessian)"
    facts = {
        "source": Source(
            name="llama",
            sha256="0" * 64,
            architecture="Llama",
            kind="decoder",
            parameters=3104,
            nbytes=12416,
            tied=False,
        ),
        "pipeline": "int4,fuse",
        "recipe": ["int4:group=32", "fuse"],
        "seed": 0,
        "calibration": "wiki.txt",
        "versions": {"compress": "0.1.0"},
        "machine": {},
        "weights": {
            "model.embed.weight": stored(8),
            down.format(0): stored(4),
            up.format(0): stored(2),
            down.format(1): stored(4),
            up.format(1): stored(4),
            "lm_head.weight": StoredForm(form="dense", shape=SHAPE, nbytes=16 * 32 * 2),
        },
        "layers": {
            "embedding": LayerReport(seconds=1, weights={"model.embed.weight": did("rtn", None, 0.001)}),
            "model.layers.0": LayerReport(
                seconds=2, weights={down.format(0): did("gptq", 0.01), up.format(0): did(singular, 0.2)}
            ),
            "model.layers.1": LayerReport(
                seconds=4, weights={down.format(1): did("gptq", 0.04), up.format(1): did("gptq", 0.02, 0.25)}
            ),
        },
        "vector_nbytes": 128,
    }
    return Manifest(**{**facts, **changes})


def test_matrices_are_grouped_by_layer_in_the_models_order():
    layers = layers_of(manifest())
    assert [layer.name for layer in layers] == ["embedding", "model.layers.0", "model.layers.1", "lm_head"]
    assert [layer.index for layer in layers] == [None, 0, 1, None]
    assert [layer.seconds for layer in layers] == [1, 2, 4, None]
    assert [m.kind for m in layers[1].matrices] == ["mlp.down", "up"]
    assert [m.name for m in layers[1].matrices] == ["model.layers.0.mlp.down", "model.layers.0.up"]


def test_bits_count_scales_and_weights():
    layers = layers_of(manifest())
    assert [layer.nbytes for layer in layers] == [544, 448, 576, 1024]
    assert [layer.bits_per_weight for layer in layers] == [8.5, 3.5, 4.5, 16.0]
    assert [m.stored_bits for layer in layers for m in layer.matrices] == [8, 4, 2, 4, 4, 16]
    whole = total(layers)
    assert (whole.nbytes, whole.parameters, whole.seconds) == (2592, 6 * 512, 7)
    assert manifest().nbytes == whole.nbytes + 128


def test_the_worst_matrix_is_that_with_the_largest_output_error():
    embedding, first, second, head = layers_of(manifest())
    assert (first.worst.kind, second.worst.kind) == ("up", "mlp.down")
    assert (embedding.worst, head.worst) == (None, None)
    assert (embedding.worst_weight_error, second.worst_weight_error, head.worst_weight_error) == (0.001, 0.5, None)
    assert total([embedding, first, second]).worst.name == "model.layers.0.up"


def test_solvers_are_counted_and_fallbacks_apart():
    assert total(layers_of(manifest())).solvers == {"rtn": 1, "gptq": 3, "rtn (fallback)": 1}


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("encoder.layer.11.attention.output.dense.weight", ("encoder.layer.11", 11, "attention.output.dense")),
        ("layers.3.mlp.experts.7.up.weight", ("layers.3", 3, "mlp.experts.7.up")),
        ("h.0.up.weight", ("h.0", 0, "up")),
        ("pooler.dense.weight", ("pooler.dense", None, "pooler.dense")),
    ],
)
def test_a_layer_is_known_by_its_number(name, layer):
    (found,) = layers_of(manifest(weights={name: stored(4)}, layers={}))
    assert (found.name, found.index, found.matrices[0].kind) == layer
    assert found.matrices[0].report is None


def fallen(solvers):
    weights = {f"h.{i}.up.weight": did(solver, None) for i, solver in enumerate(solvers)}
    return manifest(layers={"h": LayerReport(seconds=0, weights=weights)})


@pytest.mark.parametrize(
    ("solvers", "notice"),
    [
        (["gptq", "rtn"], None),
        (["gptq", "rtn (fallback: NaN (x))"], "1 matrix fell back to rtn (NaN (x)): h.1.up"),
        (["rtn (fallback)"], "1 matrix fell back to rtn: h.0.up"),
        (["rtn (fallback: a)"] * 5, "5 matrices fell back to rtn (a): h.0.up, h.1.up, h.2.up and 2 more"),
        (
            ["rtn (fallback: a)", "gptq (fallback: b)"],
            "1 matrix fell back to rtn (a): h.0.up; 1 matrix fell back to gptq (b): h.1.up",
        ),
    ],
)
def test_fallbacks_are_told_in_one_line(solvers, notice):
    assert fallback_notice(fallen(solvers)) == notice


def test_the_card_tells_what_was_lost(tmp_path):
    write_card(tmp_path, manifest(), License({}, None))
    card = (tmp_path / "README.md").read_text()
    assert "in the median, at worst 20 % (`model.layers.0.up`)" in card
    assert "calibration text: 3 % in" in card
    assert "\n- 1 matrix fell back to rtn (singular Hessian): model.layers.0.up\n" in card
    write_card(tmp_path, manifest(layers={}), License({}, None))
    assert "error" not in (tmp_path / "README.md").read_text()


@pytest.fixture
def drawn(monkeypatch):
    """The axes that a plot ends up with."""
    from matplotlib.figure import Figure

    kept = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path: kept.append(self))

    def draw(what):
        notice = plot_errors(what, Path("plot.svg"))
        return kept[-1].axes[0], notice

    return draw


def points(axes, **look):
    found = [line for line in axes.lines if all(getattr(line, f"get_{key}")() == value for key, value in look.items())]
    return [(x, round(y, 9)) for line in found for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]


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
        weights = {key: did("rtn", None, each.weight_error) for key, each in layer.weights.items()}
        rounded.layers[name] = LayerReport(seconds=0, weights=weights)
    axes, notice = drawn(rounded)
    assert axes.get_ylabel() == "relative squared weight error, %"
    assert points(axes, marker="o") == [(0, 50), (1, 50), (1, 25)]
    assert notice == "no output errors are known, as no statistics were taken; the plot shows the weights' own"


def test_nothing_to_plot_is_refused(drawn):
    with pytest.raises(UsageError, match="nothing to plot: int4,fuse reported no error of a layer's matrices"):
        drawn(manifest(layers={}))
