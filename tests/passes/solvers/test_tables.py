"""Embeddings and heads: solved by rows, on what a head reads, and with the errors of rows that are read as they are."""

from dataclasses import replace

import pytest
import torch

from compress.passes.solvers.grid import Grid
from compress.passes.solvers.rounding import round_to_nearest
from compress.passes.solvers.solver import Solver
from compress.passes.solvers.tables import solve_table
from compress.weights.forms import Dense, Factored, Masked
from tests.support.tensors import gaussian, indefinite, input_statistics, output_loss

INPUTS = input_statistics(64, tokens=2000)
TABLE = gaussian(300, 64)


def solved(weight=None, inputs=INPUTS, tied=False, method="gptq"):
    solver = Solver(method, search=True, order="gar", mismatch=False)
    return solve_table("int4", "w", weight or Dense(TABLE), solver, lambda features: Grid(4, 32), inputs, tied)


def losses(stored):
    """What the head's outputs lose, and what the rows do."""
    error = stored.dequantize() - TABLE
    return output_loss(error, INPUTS.gram), float(error.square().sum())


def test_without_inputs_a_table_is_rounded():
    stored, report = solved(inputs=None)
    assert torch.equal(stored.codes, round_to_nearest(TABLE, Grid(4, 32), True).quantized().codes)
    assert (report.solver, report.error, report.fell_back) == ("rtn", None, False)
    assert report.weight_error == pytest.approx(losses(stored)[1] / float(TABLE.square().sum()), rel=1e-4)


def test_a_head_is_solved_on_what_it_reads():
    stored, report = solved()
    head, rows = losses(stored)
    rounded_head, rounded_rows = losses(solved(inputs=None)[0])
    assert head < 0.6 * rounded_head
    assert rows > rounded_rows
    assert report.solver == "gptq"
    assert report.error == pytest.approx(head / output_loss(TABLE, INPUTS.gram), rel=1e-3)


def test_a_tied_head_counts_the_error_of_rows_in():
    """In all it loses less than a head that doesn't, or than rounding."""
    share = 0.15 * float(INPUTS.gram.diagonal().mean())
    tied, alone, rounded = (losses(solved(**options)[0]) for options in ({"tied": True}, {}, {"inputs": None}))
    assert rounded[1] < tied[1] < alone[1]
    assert alone[0] < tied[0] < rounded[0]
    assert tied[0] + share * tied[1] < 0.95 * min(alone[0] + share * alone[1], rounded[0] + share * rounded[1])
    assert solved(tied=True)[1].error == pytest.approx(tied[0] / output_loss(TABLE, INPUTS.gram), rel=1e-3)


def test_promised_zeros_stay_and_rows_are_cut_anywhere(monkeypatch):
    mask = gaussian(300, 64, seed=3) > 0
    table = Masked(TABLE * mask, mask)
    whole = solved(table, tied=True)[0]
    monkeypatch.setattr("compress.passes.solvers.tables._ROWS", 77)
    parts = solved(table, tied=True)[0]
    assert (whole.codes != parts.codes).float().mean() < 0.01  # sums of other sizes may be rounded otherwise
    assert torch.allclose(whole.scale.abs(), parts.scale.abs(), rtol=0.3)
    assert torch.equal(parts.mask, mask)
    assert not parts.dequantize()[~mask].any()


def test_a_product_is_solved_factor_by_factor():
    product = Factored(Dense(gaussian(300, 32, seed=1)), Dense(gaussian(32, 64, seed=2)))
    stored, report = solved(product)
    assert (stored.left.bits, stored.right.bits, report.solver) == (4, 4, "gptq")
    assert 0 < report.error < 0.02


def test_a_hessian_that_cannot_be_factored_is_reported():
    report = solved(inputs=replace(INPUTS, gram=indefinite(50.0)))[1]
    assert report.solver == "rtn (fallback: its Hessian is not positive definite)"
    assert report.fell_back
