"""The integer solver: what it runs, what it falls back to, what it reports."""

from dataclasses import replace

import pytest
import torch

from compress.calibration.statistics import LinearInput, Statistic
from compress.passes.solvers.grid import Grid
from compress.passes.solvers.rounding import round_to_nearest
from compress.passes.solvers.solver import Solver
from compress.weights.forms import Dense, Masked
from tests.support.tensors import correlated, gaussian, gram_of, indefinite


def reading(gram, tokens=1 << 20):
    """Statistics as calibration would leave them."""
    features = len(gram)
    return LinearInput(
        Statistic.GRAM, tokens, torch.ones(features), gram.diagonal(), gram, sample=torch.ones(1, features)
    )


def solver(method="gptq"):
    return Solver(method, True, "gar", mismatch=False)


def solved(weight, inputs, method="gptq", grid=None):
    return solver(method).solve({"w": Dense(weight)}, {"w": grid or Grid(4, 32)}, inputs)["w"]


@pytest.mark.parametrize(
    ("gram", "tokens", "solver_text"),
    [
        (torch.eye(64), 1024, "gptq"),
        (torch.eye(64), 1023, "gptq (1023 calibration tokens, 1024 advised)"),
        (indefinite(1.5), 1 << 20, "gptq (damping 1)"),
        (indefinite(1.05), 64, "gptq (damping 0.1; 64 calibration tokens, 1024 advised)"),
        (indefinite(50.0), 1 << 20, "rtn (fallback: its Hessian is not positive definite)"),
        (torch.zeros(64, 64), 1 << 20, "rtn (fallback: its inputs are zero on all of the calibration text)"),
        (None, 0, "rtn (fallback: no calibration text reaches it)"),
    ],
)
def test_the_report_says_what_was_done(gram, tokens, solver_text):
    weight = gaussian(8, 64)
    actual = solved(weight, None if gram is None else reading(gram, tokens))
    assert actual.report().solver == solver_text
    assert actual.report().fell_back == solver_text.startswith("rtn")
    if actual.report().fell_back:
        assert torch.equal(actual.weight.codes, round_to_nearest(weight, Grid(4, 32), True).quantized().codes)


def test_plain_rounding_and_zeros_are_reported_as_such():
    assert solved(gaussian(8, 64), None, "rtn").report().solver == "rtn"
    nothing = solved(torch.zeros(8, 64), reading(gram_of(correlated(64))))
    expected = {"solver": "exact (all zeros)", "error": 0.0, "weight_error": 0.0, "underflow": 0}
    assert nothing.report().model_dump() == expected
    assert not nothing.weight.dequantize().any()


def test_the_reported_errors_are_relative_to_the_outputs_and_to_the_matrix():
    x, weight = correlated(64), gaussian(8, 64)
    actual = solved(weight, reading(gram_of(x)))
    off = actual.weight.dequantize() - weight
    report = actual.report()
    assert report.error == pytest.approx(float((x @ off.T).square().sum() / (x @ weight.T).square().sum()), rel=1e-3)
    assert report.weight_error == pytest.approx(float(off.square().sum() / weight.square().sum()), rel=1e-3)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("method", ["rtn", "gptq"])
def test_matrices_solved_together_equal_each_alone(method, symmetric):
    """Of several heights, one of them with frozen zeros, one on a grid of its own."""
    inputs = reading(gram_of(correlated(192)))
    weights = {name: Dense(gaussian(rows, 192, seed=rows)) for name, rows in (("q", 16), ("k", 8), ("v", 12))}
    weights["k"] = Masked(weights["k"].tensor, gaussian(8, 192, seed=4) > 0)
    grids = {name: Grid(3 if name == "v" else 4, 64, symmetric) for name in weights}
    together = solver(method).solve(weights, grids, inputs)
    assert set(together) == set(weights)
    for name, weight in weights.items():
        alone = solver(method).solve({name: weight}, {name: grids[name]}, inputs)[name]
        assert torch.equal(together[name].weight.codes, alone.weight.codes)
        assert torch.allclose(together[name].weight.scale, alone.weight.scale, rtol=1e-5)  # other sizes, other sums
        assert together[name].weight.bits == grids[name].bits
        if name == "k":
            assert together[name].weight.mask is weight.mask
            assert not together[name].weight.dequantize()[~weight.mask].any()


def test_zeros_that_were_aimed_at_the_original_are_not_corrected_again():
    x, weight = correlated(64), gaussian(16, 64)
    inputs = replace(reading(gram_of(x)), mismatch=0.1 * gaussian(64, 64, seed=2))
    mask = gaussian(16, 64, seed=3) > 0

    def dequantized(matrix, mismatch):
        actual = Solver("gptq", True, "gar", mismatch).solve({"w": matrix}, {"w": Grid(4, 32)}, inputs)["w"]
        return actual.proposal.quantized().dequantize()

    zeros = Masked(weight * mask, mask)
    assert torch.equal(dequantized(zeros, True), dequantized(zeros, False))
    assert not torch.equal(dequantized(Dense(weight), True), dequantized(Dense(weight), False))
