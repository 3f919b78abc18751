"""Weight forms in training: they start where they are, and keep their form."""

import pytest
import torch

from compress.passes.solvers.grid import Grid
from compress.passes.solvers.parameters import Rates, trainable
from compress.passes.solvers.rounding import round_to_nearest
from compress.weights.forms import Dense
from tests.support.weights import FORMS

pytestmark = pytest.mark.usefixtures("exact_products")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_starts_where_it_is(form):
    weight = FORMS[form](torch.randn(32, 64, generator=torch.Generator().manual_seed(2)))
    trained = trainable(weight)
    assert torch.allclose(trained.matrix(), weight.dequantize(), atol=1e-6)
    assert torch.equal(trained.weight().dequantize(), weight.dequantize())
    trained.matrix().square().sum().backward()


def test_inputs_that_are_rounded_too_get_no_larger_codes():
    start = round_to_nearest(torch.randn(8, 64), Grid(8, 64, levels=63), dtype=torch.float32).quantized(act="dynamic")
    trained = trainable(start)
    trained.values.data += 5
    assert trained.weight().codes.max() == 63
    assert trained.weight().act == "dynamic"


def test_rates_of_float_matrices_fall_with_the_root_of_their_inputs():
    trained = trainable(Dense(torch.full((4, 16), -0.5)))
    assert [trained.groups(Rates(0, 0, 0.04, whole_model=wide))[0]["lr"] for wide in (False, True)] == [0.02, 0.005]
