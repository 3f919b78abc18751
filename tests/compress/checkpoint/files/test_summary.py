"""Layers, totals and fallbacks, counted by hand on a manifest written out here."""

import pytest

from compress.checkpoint.files.manifest import LayerReport
from compress.checkpoint.files.summary import fallback_notice, layers_of, notices, total
from compress.checkpoint.writing.license import License
from compress.checkpoint.writing.model_card import write_card
from compress.weights.stored import StoredForm
from tests.support.manifests import SHAPE, did, manifest, stored


def test_matrices_are_grouped_by_layer_in_the_models_order():
    layers = layers_of(manifest())
    assert [layer.name for layer in layers] == ["embedding", "model.layers.0", "model.layers.1", "lm_head"]
    assert [layer.index for layer in layers] == [None, 0, 1, None]
    assert [layer.seconds for layer in layers] == [1, 2, 4, None]
    assert [m.local_name for m in layers[1].matrices] == ["mlp.down", "up"]
    assert [m.name for m in layers[1].matrices] == ["model.layers.0.mlp.down", "model.layers.0.up"]


def test_bits_count_scales_and_weights():
    layers = layers_of(manifest())
    assert [layer.nbytes for layer in layers] == [544, 448, 576, 1024]
    assert [layer.bits_per_weight for layer in layers] == [8.5, 3.5, 4.5, 16.0]
    assert [m.stored_bits for layer in layers for m in layer.matrices] == [8, 4, 2, 4, 4, 16]
    summary = total(layers)
    assert (summary.nbytes, summary.parameters, summary.seconds) == (2592, 6 * 512, 7)
    assert manifest().nbytes == summary.nbytes + 128


def test_the_worst_matrix_is_that_with_the_largest_output_error():
    embedding, first, second, head = layers_of(manifest())
    assert (first.worst.local_name, second.worst.local_name) == ("up", "mlp.down")
    assert (embedding.worst, head.worst) == (None, None)
    assert (embedding.worst_weight_error, second.worst_weight_error, head.worst_weight_error) == (0.001, 0.5, None)
    assert total([embedding, first, second]).worst.name == "model.layers.0.up"


def test_solvers_are_counted_and_fallbacks_apart():
    assert total(layers_of(manifest())).solvers == {"rtn": 1, "gptq": 3, "rtn (fallback)": 1}


@pytest.mark.parametrize(
    ("solver", "method"),
    [
        ("gptq", "gptq"), ("gptq (128 calibration tokens, 1024 advised)", "gptq"), ("learned, from gptq", "learned"),
        ("whitened svd, rank 12", "whitened svd"), ("left dense: no product is smaller", "left dense"),
        ("gptq (damping 0.1; 64 calibration tokens, 1024 advised), repaired with rank 4", "gptq"),
    ],
)  # fmt: skip
def test_solvers_are_counted_without_their_particulars(solver, method):
    assert did(solver, None).method == method


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
    (summary,) = layers_of(manifest(weights={name: stored(4)}, layers={}))
    assert (summary.name, summary.index, summary.matrices[0].local_name) == layer
    assert summary.matrices[0].report is None


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


@pytest.mark.parametrize("form", ["factored", "dense"])
def test_matrices_left_dense_are_counted_among_those_that_were_tried(form):
    """With products, and with these multiplied out."""
    names = [f"model.layers.0.m{i}.weight" for i in range(5)]
    solvers = ["svd, rank 8", "whitened svd, rank 16", "left dense: no product that keeps enough of it is smaller"]
    reports = {name: did(solver, None, 0.1) for name, solver in zip(names, [*solvers, "rtn", solvers[2]], strict=True)}
    dense = StoredForm.dense(SHAPE, 4)
    forms = dict.fromkeys(names, dense) | (
        {name: StoredForm.product(dense, StoredForm.dense((32, 8), 4)) for name in names[:2]}
        if form == "factored"
        else {}
    )
    facts = manifest(weights=forms, layers={"model.layers.0": LayerReport(seconds=1, weights=reports)})
    assert notices(facts) == ["2 of 4 matrices were left dense: as products they would not be smaller"]
