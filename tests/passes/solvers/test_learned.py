"""Training codes and scales: on a tiny layer, against the solver that it starts from."""

from dataclasses import replace

import pytest
import torch

from compress.calibration.statistics import Statistic
from compress.calibration.walk import walk_blocks
from compress.checkpoint.model import Model
from compress.passes.solvers.grid import Grid
from compress.passes.solvers.learned import learn
from compress.passes.solvers.solver import Solver
from compress.progress import Silent
from compress.weights.forms import Masked
from tests.support.tensors import token_ids

pytestmark = pytest.mark.usefixtures("exact_products")
TOKENS = token_ids(128, 32)
"""64 batches; 32 go through the original as well, and of these two are held out."""
HELD = [0, 32]


def start(path, grid, masks=None, tokens=TOKENS):
    """The first layer, its inputs, and its matrices as GPTQ leaves them."""
    model = Model.open(str(path))
    walk = walk_blocks(model, tokens, Silent(), originals=True)
    block, inputs = next((b, i) for b, i in walk if b.role == "layer")
    for name, mask in (masks or {}).items():
        block.weights[name] = Masked(block.weights[name].tensor * mask, mask)
    solver, solved = Solver("gptq", True, "gar", mismatch=True), {}
    for stage in inputs.stages():
        here = {name: block.weights[name] for name in stage}
        statistics = inputs.statistics(Statistic.MISMATCH, stage)[stage[0]]
        solved |= solver.solve(here, dict.fromkeys(here, grid), statistics)
        block.weights |= {name: solved[name].weight for name in here}
    return block, inputs, solved, walk


def loss(inputs, batches):
    """Relative squared error of the layer's outputs against the original's, with what its block holds now."""
    inputs.refresh()
    errors = []
    for batch in batches:
        exact = inputs.target(batch)
        off = inputs.forward(batch, {}) - exact
        errors.append(float((off.square().sum(-1) / exact.square().sum(-1)).mean()))
    return sum(errors) / len(errors)


@pytest.mark.parametrize("grid", [Grid(2, 32), Grid(3, 32)])
def test_training_lowers_the_held_out_error(llama, grid):
    torch.manual_seed(0)
    block, inputs, solved, _ = start(llama, grid)
    vectors, before = dict(block.vectors), loss(inputs, HELD)
    learnt = learn(block, inputs, solved, 60)
    assert set(learnt) == set(solved)
    block.weights |= {name: matrix.weight for name, matrix in learnt.items()}
    assert loss(inputs, HELD) < 0.999 * before  # a random layer's errors hardly generalise
    assert any(not torch.equal(block.vectors[name], old) for name, old in vectors.items())
    for name, matrix in learnt.items():
        assert matrix.solver.startswith("learned, from gptq")
        assert grid.qmin <= matrix.weight.codes.min() <= matrix.weight.codes.max() <= grid.qmax
        assert matrix.weight.scale.shape == solved[name].weight.scale.shape
        assert (matrix.weight.zero_point is None) == grid.symmetric
        if not grid.symmetric:
            assert torch.equal(matrix.weight.zero_point, solved[name].weight.zero_point)
    assert any(not torch.equal(matrix.weight.codes, solved[n].weight.codes) for n, matrix in learnt.items())


def test_training_that_did_not_help_changes_nothing(llama, monkeypatch):
    """Steps so large that they can only do harm."""
    monkeypatch.setattr("compress.passes.solvers.learned._CODES_RATE", 10.0)
    block, inputs, solved, _ = start(llama, Grid(4, 32))
    vectors, weights = {name: v.clone() for name, v in block.vectors.items()}, dict(block.weights)
    assert learn(block, inputs, solved, 3) == {}
    assert block.weights == weights
    for name, vector in vectors.items():
        assert torch.equal(block.vectors[name], vector)


@pytest.mark.parametrize("symmetric", [True, False])
def test_frozen_zeros_stay(llama, symmetric):
    name = "model.layers.0.mlp.up_proj.weight"
    mask = torch.rand(128, 64, generator=torch.Generator().manual_seed(0)) > 0.5
    block, inputs, solved, _ = start(llama, Grid(3, 32, symmetric), {name: mask}, TOKENS[:2])
    learnt = learn(block, inputs, solved, 30)
    assert not learnt[name].weight.dequantize()[~mask].any()
    assert learnt[name].weight.dequantize()[mask].any()


@pytest.mark.parametrize("symmetric", [True, False])
def test_one_batch_is_trained_on_and_judged_by(llama, symmetric):
    block, inputs, solved, _ = start(llama, Grid(2, 32, symmetric), tokens=TOKENS[:2])
    before = loss(inputs, [0])
    block.weights |= {name: matrix.weight for name, matrix in learn(block, inputs, solved, 40).items()}
    assert loss(inputs, [0]) < 0.98 * before


def test_the_inputs_rounding_is_kept(llama):
    block, inputs, solved, _ = start(llama, Grid(3, 32), tokens=TOKENS[:2])
    dynamic = {name: replace(matrix, act="dynamic") for name, matrix in solved.items()}
    learnt = learn(block, inputs, dynamic, 30)
    assert {matrix.weight.act for matrix in learnt.values()} == {"dynamic"}


@pytest.mark.slow
def test_the_pass_says_which_layers_learnt(llama, run):
    """And makes the same of the same text and seed."""
    variant = run(llama, "int2:solver=learned:steps=40:head=float:embed=float", tokens=TOKENS)
    solvers = [report.solver for layer in variant.manifest.layers.values() for report in layer.weights.values()]
    assert len(solvers) == 14
    assert sum(solver.startswith("learned") for solver in solvers) >= 7
    again = run(llama, "int2:solver=learned:steps=40:head=float:embed=float", tokens=TOKENS)
    for name in variant.manifest.weights:
        assert torch.equal(variant.weight(name).dequantize(), again.weight(name).dequantize())
