"""bfloat16 products and rounding to 8 bits by token."""

import torch

from compress.calibration.precision import add_second_moment, per_token, symmetrize, to_storage_dtype
from compress.calibration.statistics import Statistic
from compress.checkpoint.model import Model
from tests.support.calibration import RESIDUAL, direct, importance, layers_of


def test_fast_products_agree_to_about_two_percent(llama):
    inputs_by_name = direct(Model.open(str(llama)).torch_module())
    for block, inputs in layers_of(Model.open(str(llama))):
        for weight, entry in inputs.statistics(Statistic.GRAM).items():
            x = inputs_by_name[weight]
            w = importance(inputs_by_name[block.name])[:, None] if weight.endswith(RESIDUAL) else 1
            exact = (w * x).T @ x / len(x)
            assert (entry.gram - exact).norm() < 0.025 * exact.norm()


def test_a_second_moment_is_the_product_of_rows(monkeypatch):
    monkeypatch.setattr("compress.calibration.precision._instructions", frozenset)
    x = torch.randn(7, 200, generator=torch.Generator().manual_seed(0))
    total = torch.zeros(200, 200)
    add_second_moment(total, x)
    add_second_moment(total, x)
    symmetrize(total)
    assert torch.allclose(total, 2 * x.T @ x, atol=1e-4)
    assert torch.equal(total, total.T)


def test_tokens_are_rounded_to_8_bits_each_by_its_own_scale():
    x = torch.tensor([[127.0, 1.4, -3.6], [0.5, 0.25, 0.0]])
    rounded = per_token(x)
    assert torch.allclose(rounded, torch.tensor([[127.0, 1.0, -4.0], [0.5, 64 * 0.5 / 127, 0.0]]))


def test_states_wait_in_bfloat16_where_the_processor_has_it(monkeypatch):
    for native, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr("compress.calibration.precision.native_bfloat16", lambda native=native: native)
        assert to_storage_dtype(torch.ones(2)).dtype == dtype
