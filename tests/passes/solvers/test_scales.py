"""Scales in training: integers and float matrices stay, gradients are those of the formula."""

import pytest
import torch

from compress.passes.solvers.parameters import Rates, trainable
from compress.passes.solvers.scales import Scales, scales
from compress.weights.forms import Dense
from tests.support.weights import FORMS, rounded

pytestmark = pytest.mark.usefixtures("exact_products")
RATES = Rates(1.0, 1.0, 1.0)


def random(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_starts_where_it_is(form):
    weight = FORMS[form](random(32, 64))
    trained = trainable(weight, scales)
    assert torch.allclose(trained.matrix(), weight.dequantize(), atol=1e-6)
    assert torch.equal(trained.weight().dequantize(), weight.dequantize())


@pytest.mark.parametrize("zero", [False, True])
def test_a_scales_gradient_is_that_of_its_groups_numbers(zero):
    weight, slope = rounded(random(4, 8), 4, 3, zero), random(4, 8).flip(0)
    trained = Scales(weight)
    (trained.matrix() * slope).sum().backward()
    for row in range(4):
        for group in range(2):
            codes = weight.codes[row, 4 * group : 4 * group + 4].float()
            if zero:
                codes -= weight.zero_point[row, group]
            expected = sum(codes * slope[row, 4 * group : 4 * group + 4]) * weight.scale[row, group]
            assert float(trained.gain.grad[row, group]) == pytest.approx(float(expected), rel=1e-4, abs=1e-6)


def test_scales_move_in_the_type_that_they_are_stored_in():
    weight = rounded(random(4, 8), 4)
    half = type(weight)(weight.codes, weight.scale.half(), weight.bits, weight.group)
    trained = Scales(half)
    with torch.no_grad():
        trained.gain.mul_(torch.linspace(0.9, 1.1, 8).reshape(4, 2))
    stored = trained.weight()
    assert stored.codes is half.codes
    assert torch.equal(stored.scale, (half.scale.float() * trained.gain).half())
    assert torch.equal(trained.matrix(), stored.dequantize())


@pytest.mark.parametrize(("whole", "rates"), [(False, [1, 1, 1]), (True, [1, 0.5, 0.25])])
def test_a_whole_models_scales_move_half_as_far_for_each_bit_more(whole, rates):
    trained = [Scales(rounded(random(4, 8), 4, bits)) for bits in (2, 3, 4)]
    groups = [group for matrix in trained for group in matrix.groups(Rates(1.0, 1.0, whole_model=whole))]
    assert [group["lr"] for group in groups] == rates


def test_float_matrices_have_nothing_to_train():
    dense = Dense(random(4, 8))
    trained = trainable(dense, scales)
    assert trained.groups(RATES) == []
    assert trained.weight() is dense


def test_only_scales_are_parameters():
    weight = FORMS["residual"](random(32, 64))
    parameters = [p for group in trainable(weight, scales).groups(RATES) for p in group["params"]]
    assert [tuple(p.shape) for p in parameters] == [tuple(weight.base.scale.shape)]
