"""Sparse passes on one matrix, with statistics as calibration leaves them."""

import pytest
import torch

from compress.calibration.statistics import RunningStatistics, Statistic
from compress.passes.sparse import Sparse
from compress.passes.sparse24 import Sparse24
from compress.weights.forms import Dense, Masked
from tests.support.tensors import correlated, gaussian, output_loss


def reading(x, y=None, level=Statistic.MISMATCH):
    inputs = RunningStatistics(level, x.shape[-1])
    inputs.update(x, 16, x if y is None else y)
    return {"w": inputs.finish()}


@pytest.mark.parametrize("pass_", [Sparse(), Sparse24()])
@pytest.mark.parametrize("solver", ["magnitude", "wanda", "sparsegpt"])
def test_refining_helps_every_solver(pass_, solver):
    x, weight = correlated(128), Dense(gaussian(32, 128))
    gram, losses = x.T @ x / len(x), {}
    for refine in ("on", "off"):
        actual = type(pass_)(solver=solver, refine=refine).apply("w", weight, reading(x))
        assert isinstance(actual, Masked)
        assert torch.equal(actual.tensor != 0, actual.mask)
        assert (actual.mask.sum(1) == 64).all()
        losses[refine] = output_loss(actual.tensor - weight.tensor, gram)
    assert losses["on"] < (0.97 if solver == "sparsegpt" else 0.6) * losses["off"]


def test_what_stays_aims_at_the_original_models_outputs():
    y = correlated(64)
    x = y + 0.3 * gaussian(2000, 64, seed=9)
    weight = Dense(gaussian(16, 64))
    exact = y @ weight.tensor.T
    off = {
        mismatch: float((x @ Sparse24(mismatch=mismatch).apply("w", weight, reading(x, y)).tensor.T - exact).norm())
        for mismatch in ("on", "off")
    }
    assert off["on"] < 0.95 * off["off"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_dtype_stays(dtype):
    actual = Sparse24().apply("w", Dense(gaussian(8, 64).to(dtype)), reading(correlated(64)))
    assert actual.tensor.dtype == dtype
