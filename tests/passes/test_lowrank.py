"""Low rank against dense algebra: the whitened product is the best one, and ranks are what the options say."""

import math

import pytest
import torch

from compress.errors import PassError, UsageError
from compress.passes.lowrank import Lowrank
from compress.passes.solvers.rank_budget import rank_step
from compress.passes.solvers.whitened_svd import OutputMetric
from compress.pipeline.parse import Pipeline, parse_pass
from compress.weights.error import output_error
from compress.weights.forms import Dense, Factored, Masked, Pivoted
from tests.support.tensors import gaussian, input_statistics


@pytest.mark.parametrize(
    ("shape", "rank"), [((128, 64), 40), ((64, 64), None), ((4096, 1024), 640), ((256, 160), 96), ((40, 16), 8)]
)
def test_a_share_of_the_smaller_side_where_that_shrinks(shape, rank):
    actual = Lowrank(rank=0.625, whiten="off", pivot="off").apply("w", Dense(gaussian(*shape)), {})
    assert (actual.right.shape[0] if type(actual) is Factored else None) == rank
    if rank:
        assert actual.nbytes() == 4 * rank * sum(shape) < 4 * math.prod(shape)
        assert rank % rank_step(shape) == 0


@pytest.mark.parametrize(("shape", "rank"), [((128, 64), 40), ((64, 64), 40), ((4, 64), None), ((64, 9), None)])
def test_pivots_make_the_same_product_smaller(shape, rank):
    weight = Dense(gaussian(*shape))
    actual = Lowrank(rank=0.625 if rank else 0.9, whiten="off").apply("w", weight, {})
    if rank is None:
        assert actual is weight  # no rank of whole steps leaves room for the outputs' order
        return
    spectrum = OutputMetric(None).spectrum(weight.tensor)
    assert isinstance(actual, Pivoted)
    assert torch.allclose(actual.dequantize(), spectrum.product(rank, torch.float32).dequantize(), atol=1e-5)
    assert actual.nbytes() == 4 * rank * (sum(shape) - rank) + 4 * shape[0] < weight.nbytes()
    assert float(actual.left.tensor.abs().max()) < 1.03


@pytest.mark.parametrize("energy", [0.5, 0.8, 0.95])
def test_energy_is_kept_by_the_smallest_rank_that_does(energy):
    inputs, weight = input_statistics(64), Dense(gaussian(128, 64))
    actual = Lowrank(energy=energy).apply("w", weight, {"w": inputs})
    losses = OutputMetric(inputs).spectrum(weight.tensor).losses
    rank = actual.right.shape[0]
    assert float(losses[:rank].sum() / losses.sum()) >= energy > float(losses[: rank - 8].sum() / losses.sum())
    assert output_error(weight.tensor, actual.dequantize(), inputs.gram) <= 1 - energy + 1e-4


def test_more_energy_than_a_smaller_product_has_leaves_the_matrix():
    weight = Dense(gaussian(128, 64))
    assert Lowrank(energy=0.99999, whiten="off").apply("w", weight, {}) is weight


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lowrank", "pass 'lowrank': give exactly one of rank, keep and energy, like rank=0.625"),
        ("lowrank:rank=0.5:keep=0.5", "pass 'lowrank': give exactly one of rank, keep and energy, like rank=0.625"),
        ("lowrank:rank=1.5", "pass 'lowrank': rank=1.5: it should be less than 1"),
        ("sparse24,lowrank:rank=0.5", "pipeline sparse24,lowrank:rank=0.5: lowrank works on Dense weights, but "
         "sparse24 may leave Masked; this order works: lowrank:rank=0.5,sparse24"),
        ("int4,lowrank:rank=0.5", "pipeline int4,lowrank:rank=0.5: lowrank works on Dense weights, but int4 may leave "
         "Quantized; this order works: lowrank:rank=0.5,int4"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(text, message):
    with pytest.raises(UsageError) as error:
        Pipeline.parse(text)
    assert str(error.value) == message


def test_a_masked_matrix_is_refused():
    with pytest.raises(PassError, match="lowrank works on dense weights"):
        Lowrank(rank=0.5).apply("w", Factored(Dense(torch.ones(2, 1)), Dense(torch.ones(1, 2))), {})
    assert Masked not in Lowrank.accepts


@pytest.mark.parametrize(
    "pipeline",
    ["lowrank:rank=0.25", "lowrank:energy=0.7:mismatch=on", "lowrank:keep=0.6", "lowrank:keep=0.6:pivot=off"],
)
def test_a_model_is_factored_layer_by_layer(untied, run, pipeline):
    actual = run(untied, pipeline)
    forms = actual.manifest.weights
    assert all(form.pivoted == ("pivot=off" not in pipeline) for form in forms.values() if form.form == "factored")
    assert forms["model.embed_tokens.weight"].form == "dense"
    inside = {name: form for name, form in forms.items() if ".layers." in name}
    assert any(form.form == "factored" for form in inside.values())
    assert (forms["lm_head.weight"].form == "factored") == ("keep" not in pipeline)
    stored = sum(form.nbytes for form in inside.values())
    dense_bytes = sum(4 * math.prod(form.shape) for form in inside.values())
    if "keep" in pipeline:
        assert 0.57 * dense_bytes < stored <= 0.6 * dense_bytes
    reports = {name: report for layer in actual.manifest.layers.values() for name, report in layer.weights.items()}
    for name, form in inside.items():
        if form.form == "factored":
            assert reports[name].solver == f"whitened svd, rank {form.parts['right'].shape[0]}"
            assert 0 < reports[name].error < (2 if "mismatch" in pipeline else 1)
        else:
            assert reports[name].solver == "left dense: no product that keeps enough of it is smaller"


def test_whitening_loses_less_of_the_outputs(untied, run):
    error = {
        whiten: sum(
            report.error or 0.0 for layer in run(untied, Pipeline((parse_pass(f"lowrank:rank=0.25:whiten={whiten}"),)))
            .manifest.layers.values() for report in layer.weights.values()
        )
        for whiten in ("on", "off")
    }  # fmt: skip
    assert error["off"] == 0  # nothing is known of the outputs without calibration
    assert error["on"] > 0
