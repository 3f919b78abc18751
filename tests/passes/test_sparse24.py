"""Pass `sparse24`: two of every four inputs are zero."""

from __future__ import annotations

import pytest

from compress.calibration.statistics import Statistic
from compress.checkpoint.model import Model
from compress.errors import UsageError
from compress.export.targets.ort_cpu import OrtCpu
from compress.passes.sparse24 import Sparse24
from compress.weights.forms import Dense
from tests.support.tensors import gaussian, input_statistics


@pytest.mark.parametrize("solver", ["magnitude", "wanda", "sparsegpt"])
def test_two_of_four_stay_whatever_the_solver(solver):
    inputs = {"w": input_statistics(64, Statistic.MISMATCH)}
    actual = Sparse24(solver=solver, refine="off").apply("w", Dense(gaussian(16, 64)), inputs)
    assert (actual.mask.unflatten(1, (-1, 4)).sum(2) == 2).all()


def test_inputs_that_do_not_come_in_fours_are_refused(tiny):
    model = Model.open(str(tiny("LlamaForCausalLM", intermediate_size=130, num_hidden_layers=1)))
    name = "model.layers.0.mlp.down_proj.weight"
    with pytest.raises(UsageError, match=f"sparse24: 4 doesn't divide the 130 inputs of {name}; leave it out with"):
        Sparse24().resolve(model, OrtCpu.capability)
    assert Sparse24(skip=name).resolve(model, OrtCpu.capability).skip == name
