"""Repairing an integer matrix's error with a thin product, against dense algebra."""

import pytest
import torch

from compress.calibration.statistics import RunningStatistics, Statistic
from compress.errors import UsageError
from compress.export.targets.base import find_target
from compress.passes.int4 import Int4
from compress.passes.solvers.grid import Grid
from compress.passes.solvers.low_rank_correction import low_rank_correction
from compress.passes.solvers.rounding import round_to_nearest
from compress.pipeline.parse import Pipeline
from compress.weights.error import output_error
from compress.weights.forms import Dense, Factored, Masked, Residual, mask_of
from tests.support.tensors import F64, gaussian


def statistics(features, level=Statistic.MISMATCH):
    x = gaussian(500, features, seed=1) * torch.linspace(0.05, 3, features)
    inputs = RunningStatistics(level, features)
    inputs.update(x + x.roll(1, 1), 16, x + x.roll(1, 1) + 0.2 * gaussian(500, features, seed=2))
    return inputs.finish()


def rounded(weight):
    return round_to_nearest(weight, Grid(2, 32), dtype=torch.float32).quantized()


@pytest.mark.parametrize("rank", [1, 8, 16])
def test_what_is_left_is_what_no_product_of_that_rank_repairs(rank):
    inputs, weight = statistics(64, Statistic.GRAM), gaussian(96, 64)
    base = rounded(weight)
    actual = low_rank_correction({"w": Dense(weight)}, {"w": base}, rank, inputs, toward_original=False)["w"]
    assert isinstance(actual, Residual)
    assert actual.base is base
    error, gram = (weight - base.dequantize()).to(F64), inputs.gram.to(F64)
    values = torch.linalg.eigvalsh(error @ gram @ error.T).flip(0)  # of the errors of the outputs
    residual = (weight - actual.dequantize()).to(F64)
    assert float(((residual @ gram) * residual).sum()) == pytest.approx(float(values[rank:].sum()), rel=1e-3)


def test_it_aims_where_the_codes_aimed():
    inputs, weight = statistics(64), gaussian(96, 64)
    actual = low_rank_correction({"w": Dense(weight)}, {"w": rounded(weight)}, 60, inputs, toward_original=True)
    gram, mismatch = inputs.gram.to(F64), inputs.mismatch.to(F64)
    damped = gram + 0.01 * gram.diagonal().mean() * torch.eye(64, dtype=F64)
    target = weight + (weight.to(F64) @ mismatch @ torch.linalg.inv(damped)).float()
    assert actual == {}  # a product of rank 60 is larger than the matrix
    actual = low_rank_correction({"w": Dense(weight)}, {"w": rounded(weight)}, 30, inputs, toward_original=True)["w"]
    plain = low_rank_correction({"w": Dense(weight)}, {"w": rounded(weight)}, 30, inputs, toward_original=False)["w"]
    assert output_error(target, actual.dequantize(), inputs.gram) < output_error(
        target, plain.dequantize(), inputs.gram
    )


def test_factors_are_left_as_they_are():
    product = Factored(Dense(gaussian(8, 4)), Dense(gaussian(4, 8)))
    assert low_rank_correction({"w": product}, {"w": product}, 4, None, toward_original=False) == {}


@pytest.mark.parametrize(
    "pipeline", ["int2", "int2:solver=rtn", "int8:act=dynamic:fallback=1", "sparse24,int4:mismatch=off"]
)
def test_every_integer_pass_can_be_repaired(untied, run, pipeline):
    plain, better = run(untied, pipeline), run(untied, f"{pipeline}:compensate=8")
    assert better.manifest.recipe[-1].count("compensate=8") == 1
    errors = {}
    for actual in (plain, better):
        reports = {name: report for layer in actual.manifest.layers.values() for name, report in layer.weights.items()}
        errors[actual.path] = sum(report.weight_error for name, report in reports.items() if ".layers." in name)
        for name, form in actual.manifest.weights.items():
            assert form.form == ("residual" if actual is better and ".layers." in name else "quantized")
            if form.form == "residual":
                assert "repaired with rank 8" in reports[name].solver
                assert form.parts["left"].shape[1] == form.parts["right"].shape[0] == 8
                weight = actual.weight(name)
                assert (mask_of(weight) is not None) == ("sparse24" in pipeline)
                assert form.parts["base"].masked == ("sparse24" in pipeline)
    assert errors[better.path] < 0.9 * errors[plain.path]


def test_what_cannot_be_combined_is_refused_before_the_work(untied, run):
    with pytest.raises(UsageError, match="compensate repairs an error that solver=learned trains; use solver=gptq"):
        run(untied, "int4:solver=learned:compensate=8")
    with pytest.raises(UsageError) as error:
        find_target("hf").check(Pipeline.parse("int4:compensate=8").passes)
    assert str(error.value) == (
        "hf can't hold what int4 produces (Residual); --merge stores such a matrix multiplied out, as one dense "
        "matrix; --target ort-cpu holds it as it is"
    )
    find_target("hf").check(Pipeline.parse("int4:compensate=8").passes, merge=True)
    find_target("hf").check(Pipeline.parse("sparse24,int4").passes)
    assert Int4().output_forms() == (Int4.produces[0],)
    assert Masked in Int4.accepts
