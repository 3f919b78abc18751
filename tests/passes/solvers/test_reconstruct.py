"""Training on losses so simple that every step is known."""

from itertools import pairwise

import pytest
import torch

from compress.calibration.block import Block
from compress.passes.solvers.parameters import Rates, trainable
from compress.passes.solvers.reconstruct import reconstruct
from compress.weights.forms import Dense

pytestmark = pytest.mark.usefixtures("exact_products")


class Slope:
    """A block whose loss falls by one with each one that its matrix rises: Adam moves by its rate, whatever that is."""

    batches = 1

    def refresh(self):
        self.positions = []

    def forward(self, batch, parameters):
        self.positions.append(float(parameters["x"].detach()))
        return parameters["x"]

    def target(self, batch):
        return torch.zeros(1, 1)

    def loss(self, output, exact):
        return -(output - exact).sum()

    def training_steps(self, steps):
        self.positions = []
        return range(steps)


@pytest.mark.parametrize(("whole_model", "moved"), [(False, [1, 0.75, 0.5, 0.25]), (True, [1 / 3, 0.5, 0.5, 0.25])])
def test_rates_fall_over_all_steps_and_rise_first_in_a_whole_model(whole_model, moved):
    inputs, block = Slope(), Block("x", "model", {}, {})
    reconstruct(block, inputs, {"x": trainable(Dense(torch.ones(1, 1)))}, Rates(0, 0, 1.0, whole_model), 4)
    assert [b - a for a, b in pairwise(inputs.positions)] == pytest.approx(moved, rel=1e-4)


class Steep(Slope):
    """Batches that pull apart, every other one ``steepness`` times harder."""

    batches = 4

    def __init__(self, steepness):
        self.steepness = steepness

    def target(self, batch):
        return torch.tensor([[1.0, -self.steepness][batch % 2]])

    def loss(self, output, exact):
        return -(output * exact).sum()


@pytest.mark.parametrize("whole_model", [False, True])
def test_every_batch_counts_alike_in_a_whole_model(whole_model):
    ends = []
    for steepness in (1.0, 1000.0):
        torch.manual_seed(0)
        inputs, block = Steep(steepness), Block("x", "model", {}, {})
        reconstruct(block, inputs, {"x": trainable(Dense(torch.ones(1, 1)))}, Rates(0, 0, 1.0, whole_model), 30)
        ends.append(inputs.positions[-1])
    assert (ends[0] == ends[1]) == whole_model
