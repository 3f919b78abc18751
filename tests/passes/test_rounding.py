import pytest
import torch

from compress.passes.rounding import round_to_nearest


def naive(weight, group, levels):
    """The same, one number at a time."""
    out = torch.zeros_like(weight)
    for i in range(weight.shape[0]):
        for start in range(0, weight.shape[1], group):
            part = weight[i, start : start + group].double()
            scale = max(float(v.abs()) for v in part) / levels or 1.0
            for j, value in enumerate(part):
                out[i, start + j] = round(float(value) / scale) * scale
    return out


@pytest.mark.parametrize(("group", "levels"), [(32, 127), (64, 127), (128, 63)])
def test_equals_a_naive_loop(group, levels):
    weight = torch.randn(6, 128, generator=torch.Generator().manual_seed(0))
    stored = round_to_nearest(weight, group, levels)
    assert torch.allclose(stored.dequantize(), naive(weight, group, levels), atol=1e-6)
    assert stored.codes.abs().max() == levels
    assert stored.scale.shape == (6, 128 // group)


def test_the_error_is_at_most_half_a_step():
    weight = torch.randn(8, 64)
    stored = round_to_nearest(weight, 32)
    error = (stored.dequantize() - weight).abs().unflatten(1, (-1, 32)).amax(-1)
    assert (error <= stored.scale / 2 + 1e-7).all()


def test_a_group_of_zeros_stays_zero():
    stored = round_to_nearest(torch.zeros(2, 32), 32)
    assert not stored.dequantize().any()
    assert torch.isfinite(stored.scale).all()


def test_scales_have_the_weights_dtype_and_codes_fit_them():
    weight = torch.randn(4, 64).half()
    stored = round_to_nearest(weight, 64)
    assert stored.scale.dtype == torch.float16
    assert (stored.dequantize() - weight.float()).abs().max() <= stored.scale.float().max() * 0.51
