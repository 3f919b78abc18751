"""Channels of a layer: where they are found, and that dropping some of them leaves the others' function."""

from __future__ import annotations

import pytest
import torch

from compress.calibration.block import Block
from compress.calibration.statistics import RunningStatistics, Statistic
from compress.passes.solvers.channels import HEADS, MLP, Channels, drop_channels, find_channels
from compress.weights.forms import Dense
from tests.support.tensors import correlated, gaussian

GATED = ["l.0.mlp.gate_proj.weight", "l.0.mlp.up_proj.weight", "l.0.mlp.down_proj.weight"]


@pytest.mark.parametrize(
    ("names", "makers", "reader", "times"),
    [
        (GATED, GATED[:2], GATED[2], 1),
        (["l.0.fc1.weight", "l.0.fc2.weight"], ["l.0.fc1.weight"], "l.0.fc2.weight", 1),
        (
            ["l.0.mlp.gate_up_proj.weight", "l.0.mlp.down_proj.weight"],
            ["l.0.mlp.gate_up_proj.weight"], "l.0.mlp.down_proj.weight", 2,
        ),
    ],
)  # fmt: skip
def test_a_layers_mlp_is_found_by_its_names(names, makers, reader, times):
    assert find_channels(MLP, "l.0", names) == Channels(tuple(makers), reader, times)


def test_what_is_built_otherwise_is_not_found():
    assert find_channels(MLP, "l.0", GATED[:2]) is None
    assert find_channels(MLP, "l.1", GATED) is None
    assert find_channels(HEADS, "l.0", GATED) is None


def statistics(x):
    inputs = RunningStatistics(Statistic.GRAM, x.shape[1])
    inputs.update(x, 16)
    return inputs.finish()


def block(up, down, bias):
    weights = {"l.0.fc1.weight": Dense(up), "l.0.fc2.weight": Dense(down)}
    return Block("l.0", "layer", weights, {"l.0.fc1.bias": bias})


FC = find_channels(MLP, "l.0", ["l.0.fc1.weight", "l.0.fc2.weight"])


@pytest.mark.parametrize("solver", ["nystrom", "dropped"])
def test_channels_that_say_nothing_go(solver):
    """Of eight, two are zero for all inputs; those are the cheapest, and nothing stands in for them."""
    up, bias = gaussian(8, 16), gaussian(8, seed=1)
    up[[2, 5]], bias[[2, 5]] = 0, 0
    x = torch.relu(gaussian(500, 16, seed=2) @ up.T + bias)
    down = gaussian(4, 8, seed=3)
    layer = block(up, down, bias)
    drop_channels(layer, FC, statistics(x), 8, 2, solver)
    stay = [0, 1, 3, 4, 6, 7]
    assert torch.equal(layer.weights["l.0.fc1.weight"].tensor, up[stay])
    assert torch.equal(layer.vectors["l.0.fc1.bias"], bias[stay])
    assert torch.allclose(layer.weights["l.0.fc2.weight"].tensor, down[:, stay], atol=1e-4)
    assert layer.reports["l.0.fc2.weight"].solver == solver
    assert layer.reports["l.0.fc2.weight"].error == pytest.approx(0, abs=1e-6)


def test_what_stays_makes_good_for_what_goes():
    x, down = correlated(32), gaussian(4, 32, seed=1)
    losses = {}
    for solver in ("nystrom", "dropped"):
        layer = block(torch.eye(32), down, torch.zeros(32))
        drop_channels(layer, FC, statistics(x), 32, 16, solver)
        stay = layer.weights["l.0.fc1.weight"].tensor.argmax(1)
        off = x[:, stay] @ layer.weights["l.0.fc2.weight"].tensor.T - x @ down.T
        losses[solver] = float(off.square().sum() / (x @ down.T).square().sum())
        assert layer.reports["l.0.fc2.weight"].error == pytest.approx(losses[solver], rel=1e-2)
    assert losses["nystrom"] < 0.5 * losses["dropped"]


def test_units_of_several_channels_go_whole():
    """Heads: their channels lie next to each other."""
    up, down = gaussian(12, 8), gaussian(4, 12, seed=1)
    down[:, 4:8] = 0
    layer = block(up, down, gaussian(12, seed=2))
    drop_channels(layer, FC, statistics(gaussian(300, 12, seed=3)), 3, 1, "dropped")
    assert torch.equal(layer.weights["l.0.fc1.weight"].tensor, torch.cat([up[:4], up[8:]]))


def test_without_inputs_the_energy_decides_and_that_is_said():
    layer = block(gaussian(8, 8), gaussian(4, 8, seed=1), torch.zeros(8))
    drop_channels(layer, FC, statistics(torch.zeros(50, 8)), 8, 2, "nystrom")
    assert layer.reports["l.0.fc2.weight"].solver.startswith("dropped (fallback: its inputs are zero")
