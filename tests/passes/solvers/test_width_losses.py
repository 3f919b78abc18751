"""Losses by width: against models with the rounded matrices."""

import pytest
import torch
from torch.func import functional_call

from compress.calibration.survey import Survey
from compress.calibration.walk import walk_blocks
from compress.checkpoint.model import Model
from compress.passes.solvers.gptq import Hessian, gptq
from compress.passes.solvers.grid import Grid
from compress.passes.solvers.rounding import round_to_nearest
from compress.passes.solvers.solver import Solver
from compress.passes.solvers.width_losses import Trial, measure_losses
from compress.progress import Silent
from tests.support.tensors import token_ids

TOKENS = token_ids(6, 24)


def trial(method="rtn"):
    grid = lambda bits, features: Grid(bits, 32 if features % 32 == 0 else features)  # noqa: E731
    return Trial("int4", Solver(method, True, "gar", False), grid)


def survey_of(path, progress=None):
    return Survey(Model.open(str(path)), TOKENS, progress or Silent())


@pytest.mark.parametrize("method", ["rtn", "gptq"])
@pytest.mark.parametrize("name", ["LlamaForCausalLM", "BertModel"])
def test_a_survey_finds_that_more_bits_lose_less(tiny, name, method, exact_products):
    survey = survey_of(tiny(name))
    skip = "down_proj" if name == "LlamaForCausalLM" else "layer.0.output"
    widths = (2, 3, 4, 8)
    offers = measure_losses(survey, widths, trial(method), lambda n: skip in n)
    for offer in offers:
        losses = [offer.losses[width] for width in widths]
        assert losses == sorted(losses, reverse=True)
        assert losses[3] < 5e-4 < losses[0] < 2
        assert losses[1] / losses[2] > 2  # a bit more halves the step, so the error is about a quarter
        numbers = sum(survey.model.shape(n)[0] * survey.model.shape(n)[1] for n in offer.names)
        assert offer.costs == {width: numbers * width // 8 + 2 * numbers // 32 for width in widths}
    names = [n for offer in offers for n in offer.names]
    walk = walk_blocks(survey.model, None, Silent())
    layers = {n for block, _ in walk if block.role == "layer" for n in block.weights}
    assert sorted(names) == sorted(n for n in layers if skip not in n)
    assert [len(offer.names) for offer in offers] == ([3, 1, 2] * 2 if skip == "down_proj" else [3, 1, 1, 3, 1, 1, 1])


def naive_loss(exact, matrices):
    with torch.no_grad():
        outputs = [functional_call(exact, w, TOKENS[::2], {"use_cache": False}) for w in (matrices, {})]
    logits = [output.logits.log_softmax(-1) for output in outputs]
    return float(torch.nn.functional.kl_div(*logits, log_target=True, reduction="none").sum(-1).mean())


def test_a_measured_loss_is_that_of_the_model_and_the_others_follow_it(llama, exact_products, monkeypatch):
    """Against the model with the rounded matrices: measured at 4 bits, linear in the error elsewhere."""
    monkeypatch.setattr("compress.calibration.survey._MEASURED", (4, 128))
    survey = survey_of(llama)
    exact = survey.model.torch_module()
    for offer in measure_losses(survey, (3, 4), trial(), lambda _: False):
        for bits, tolerance in ((4, 1e-3), (3, 0.3)):
            weights = {name: exact.get_parameter(name).detach() for name in offer.names}
            rounded = {
                name: round_to_nearest(weight, Grid(bits, 32), True).quantized().dequantize()
                for name, weight in weights.items()
            }
            expected = pytest.approx(naive_loss(exact, rounded), rel=tolerance)
            assert offer.losses[bits] == expected


def test_a_solved_matrix_loses_what_the_model_with_it_does(llama, exact_products, monkeypatch):
    """Against GPTQ on the second moments of what the linears really read."""
    monkeypatch.setattr("compress.calibration.survey._MEASURED", (4, 128))
    survey = survey_of(llama)
    exact = survey.model.torch_module()
    for offer in measure_losses(survey, (4,), trial("gptq"), lambda name: "o_proj" in name or "down" in name):
        read = []
        linear = exact.get_submodule(offer.names[0].removesuffix(".weight"))
        hook = linear.register_forward_pre_hook(lambda _, inputs, read=read: read.append(inputs[0].flatten(0, 1)))
        with torch.no_grad():
            exact(TOKENS[::2], use_cache=False)
        hook.remove()
        hessian = Hessian(read[0].T @ read[0] / len(read[0]), None, 32, "gar")
        weights = {name: exact.get_parameter(name).detach() for name in offer.names}
        solved = {
            name: gptq(weight, hessian, Grid(4, 32), True, torch.float16).quantized().dequantize()
            for name, weight in weights.items()
        }
        assert offer.losses[4] == pytest.approx(naive_loss(exact, solved), rel=0.02)


def test_the_same_matrices_of_all_experts_get_the_same_bits(tiny, exact_products):
    options = {"num_local_experts": 4, "num_experts_per_tok": 1}
    survey = survey_of(tiny("MixtralForCausalLM", **options))
    offers = measure_losses(survey, (2, 4), trial(), lambda _: False)
    experts = [offer for offer in offers if "experts" in offer.names[0]]
    assert [len(offer.names) for offer in experts] == [8, 4] * 2
