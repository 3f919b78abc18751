"""Low rank against dense algebra: the whitened product is the best one, and ranks are what the options say."""

import math

import pytest
import torch

from compress.calibration.statistics import RunningStatistics, Statistic
from compress.errors import PassError, UsageError
from compress.passes.lowrank import Lowrank
from compress.passes.solvers.rank_budget import RankLosses, choose_ranks, rank_step, shrinks
from compress.passes.solvers.whitened_svd import OutputMetric
from compress.pipeline.parse import Pipeline, parse_pass
from compress.weights.error import output_error
from compress.weights.forms import Dense, Factored, Masked
from tests.support.tensors import F64, gaussian


def seen(features, level=Statistic.GRAM, tokens=600):
    x = gaussian(tokens, features, seed=1) * torch.linspace(0.05, 3, features)
    x = x + x.roll(1, 1)
    inputs = RunningStatistics(level, features)
    inputs.update(x, 16, x + 0.2 * gaussian(tokens, features, seed=2))
    return inputs.finish()


def squared(off, gram):
    return float(((off.to(F64) @ gram.to(F64)) * off.to(F64)).sum())


@pytest.mark.parametrize("shape", [(24, 16), (16, 24)])
@pytest.mark.parametrize("rank", [1, 5, 12])
def test_the_loss_is_that_of_the_directions_left_out(shape, rank):
    inputs, weight = seen(shape[1]), gaussian(*shape)
    spectrum = OutputMetric(inputs).spectrum(weight)
    product = spectrum.product(rank, F64)
    assert product.left.shape == (shape[0], rank)
    assert product.right.shape == (rank, shape[1])
    assert squared(product.dequantize() - weight, inputs.gram) == pytest.approx(
        float(spectrum.losses[rank:].sum()), 1e-3
    )


def test_no_product_of_that_rank_loses_less():
    """Reduced-rank regression: project the outputs on their leading directions, with a dense eigendecomposition."""
    inputs, weight = seen(16), gaussian(24, 16)
    gram, exact = inputs.gram.to(F64), weight.to(F64)
    _, vectors = torch.linalg.eigh(exact @ gram @ exact.T)
    leading = vectors[:, -6:]
    best = squared(leading @ leading.T @ exact - exact, gram)
    found = OutputMetric(inputs).spectrum(weight).product(6, torch.float32).dequantize()
    plain = OutputMetric(inputs, whiten=False).spectrum(weight).product(6, torch.float32).dequantize()
    assert squared(found - exact, gram) == pytest.approx(best, rel=1e-3)
    assert squared(plain - exact, gram) > 1.3 * best


def test_without_inputs_it_is_the_plain_svd():
    weight = gaussian(24, 16)
    sigma = torch.linalg.svdvals(weight.to(F64))
    assert torch.allclose(OutputMetric(None).spectrum(weight).sigma, sigma)
    assert torch.allclose(OutputMetric(seen(16), whiten=False).spectrum(weight).sigma, sigma)


def test_inputs_that_are_always_zero_do_no_harm():
    inputs = seen(16)
    inputs.gram[3], inputs.gram[:, 3] = 0, 0
    product = OutputMetric(inputs).spectrum(gaussian(24, 16)).product(8, torch.float32)
    assert torch.isfinite(product.dequantize()).all()
    nothing = RunningStatistics(Statistic.GRAM, 16)
    nothing.update(torch.zeros(8, 16), 8)
    assert OutputMetric(nothing.finish()).root is None


def test_the_target_solves_the_normal_equations_of_the_mismatch():
    inputs, weight = seen(16, Statistic.MISMATCH), gaussian(4, 16)
    gram, mismatch = inputs.gram.to(F64), inputs.mismatch.to(F64)
    damped = gram + 0.01 * gram.diagonal().mean() * torch.eye(16, dtype=F64)
    expected = weight.to(F64) + weight.to(F64) @ mismatch @ torch.linalg.inv(damped)
    assert torch.allclose(OutputMetric(inputs).target(weight, 0.01), expected, atol=1e-5)
    assert torch.equal(OutputMetric(seen(16)).target(weight, 0.01), weight.to(F64))


@pytest.mark.parametrize(
    ("shape", "rank"), [((128, 64), 40), ((64, 64), None), ((4096, 1024), 640), ((256, 160), 96), ((40, 16), 8)]
)
def test_a_share_of_the_smaller_side_where_that_shrinks(shape, rank):
    found = Lowrank(rank=0.625, whiten="off").apply("w", Dense(gaussian(*shape)), {})
    assert (found.right.shape[0] if isinstance(found, Factored) else None) == rank
    if rank:
        assert found.nbytes() == 4 * rank * sum(shape) < 4 * math.prod(shape)
        assert rank % rank_step(shape) == 0


@pytest.mark.parametrize("energy", [0.5, 0.8, 0.95])
def test_energy_is_kept_by_the_smallest_rank_that_does(energy):
    inputs, weight = seen(64), Dense(gaussian(128, 64))
    found = Lowrank(energy=energy).apply("w", weight, {"w": inputs})
    losses = OutputMetric(inputs).spectrum(weight.tensor).losses
    rank = found.right.shape[0]
    assert float(losses[:rank].sum() / losses.sum()) >= energy > float(losses[: rank - 8].sum() / losses.sum())
    assert output_error(weight.tensor, found.dequantize(), inputs.gram) <= 1 - energy + 1e-4


def test_more_energy_than_a_smaller_product_has_leaves_the_matrix():
    weight = Dense(gaussian(128, 64))
    assert Lowrank(energy=0.99999, whiten="off").apply("w", weight, {}) is weight


def test_a_budget_is_shared_out_by_loss_saved():
    falling = torch.tensor([0.5**i for i in range(64)])
    flat = torch.ones(64)
    offers = {
        "falling": RankLosses((128, 64), falling),
        "flat": RankLosses((128, 64), flat),
        "flat again": RankLosses((128, 64), flat),
    }
    ranks = choose_ranks(offers, 0.7)
    stored = sum(rank * 192 if rank else 8192 for rank in ranks.values())
    assert stored <= 0.7 * 3 * 8192 < stored + 8 * 192 * 3
    assert 0 < ranks["falling"] <= 24  # a second step hardly saves anything
    assert ranks["falling"] < max(ranks["flat"], 43 * (ranks["flat"] == 0))


def brute(offers, keep):
    """The least loss of any choice of ranks within the budget."""
    best = math.inf
    names = list(offers)
    choices = [[*range(8, 64, 8)] for _ in names]
    for a in choices[0]:
        for b in choices[1]:
            ranks = dict(
                zip(names, (a if shrinks((128, 64), a) else 0, b if shrinks((128, 64), b) else 0), strict=True)
            )
            if sum(r * 192 if r else 8192 for r in ranks.values()) <= keep * 2 * 8192:
                best = min(best, lost(offers, ranks))
    return best


def lost(offers, ranks):
    return sum(float(offers[n].losses[r:].sum() / offers[n].losses.sum()) if r else 0.0 for n, r in ranks.items())


@pytest.mark.parametrize("keep", [0.3, 0.5, 0.75])
def test_the_shares_are_about_the_best_there_are(keep):
    curves = (0.93, 0.97)
    offers = {str(base): RankLosses((128, 64), torch.tensor([base**i for i in range(64)])) for base in curves}
    assert lost(offers, choose_ranks(offers, keep)) <= brute(offers, keep) + 0.12


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


@pytest.mark.parametrize("pipeline", ["lowrank:rank=0.25", "lowrank:energy=0.7:mismatch=on", "lowrank:keep=0.6"])
def test_a_model_is_factored_layer_by_layer(untied, run, pipeline):
    found = run(untied, pipeline)
    forms = found.manifest.weights
    assert forms["model.embed_tokens.weight"].form == "dense"
    inside = {name: form for name, form in forms.items() if ".layers." in name}
    assert any(form.form == "factored" for form in inside.values())
    assert (forms["lm_head.weight"].form == "factored") == ("keep" not in pipeline)
    stored = sum(form.nbytes for form in inside.values())
    whole = sum(4 * math.prod(form.shape) for form in inside.values())
    if "keep" in pipeline:
        assert 0.57 * whole < stored <= 0.6 * whole
    reports = {name: each for layer in found.manifest.layers.values() for name, each in layer.weights.items()}
    for name, form in inside.items():
        if form.form == "factored":
            assert reports[name].solver == f"whitened svd, rank {form.parts['right'].shape[0]}"
            assert 0 < reports[name].error < (2 if "mismatch" in pipeline else 1)
        else:
            assert reports[name].solver == "left dense: no product that keeps enough of it is smaller"


def test_whitening_loses_less_of_the_outputs(untied, run):
    error = {
        whiten: sum(
            each.error or 0.0 for layer in run(untied, Pipeline((parse_pass(f"lowrank:rank=0.25:whiten={whiten}"),)))
            .manifest.layers.values() for each in layer.weights.values()
        )
        for whiten in ("on", "off")
    }  # fmt: skip
    assert error["off"] == 0  # nothing is known of the outputs without calibration
    assert error["on"] > 0
