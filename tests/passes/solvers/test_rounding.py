import pytest
import torch

from compress.passes.solvers.grid import Grid
from compress.passes.solvers.rounding import best_scales, round_to_nearest


def naive(weight, group, low, high, even):
    """The same, one number at a time."""
    out = torch.zeros_like(weight)
    for i in range(weight.shape[0]):
        for start in range(0, weight.shape[1], group):
            part = weight[i, start : start + group].double().tolist()
            extreme = max(part, key=abs)
            scale = abs(extreme) / high if even else extreme / low
            for j, value in enumerate(part):
                out[i, start + j] = min(max(round(value / scale), low), high) * scale
    return out


@pytest.mark.parametrize(
    ("grid", "low", "high"),
    [
        (Grid(8, 32), -127, 127),
        (Grid(8, 128, levels=63), -63, 63),
        (Grid(4, 64), -8, 7),
        (Grid(3, 32), -4, 3),
        (Grid(2, 128), -2, 1),
    ],
)
def test_equals_a_naive_loop(grid, low, high):
    weight = torch.randn(6, 128, generator=torch.Generator().manual_seed(0))
    stored = round_to_nearest(weight, grid, dtype=torch.float32).quantized()
    assert torch.allclose(stored.dequantize(), naive(weight, grid.group, low, high, -low == high), atol=1e-6)
    assert stored.scale.shape == (6, 128 // grid.group)
    assert (stored.bits, stored.group, stored.act) == (grid.bits, grid.group, None)


def test_the_error_is_at_most_half_a_step():
    weight = torch.randn(8, 64)
    stored = round_to_nearest(weight, Grid(8, 32), dtype=torch.float32).quantized()
    error = (stored.dequantize() - weight).abs().unflatten(1, (-1, 32)).amax(-1)
    assert (error <= stored.scale / 2 + 1e-7).all()


def test_scales_have_the_weights_dtype_and_codes_fit_them():
    weight = torch.randn(4, 64).half()
    stored = round_to_nearest(weight, Grid(8, 64)).quantized()
    assert stored.scale.dtype == torch.float16
    assert (stored.dequantize() - weight.float()).abs().max() <= stored.scale.float().max() * 0.51


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("search", [True, False])
def test_frozen_zeros_stay_zeros(symmetric, search):
    """Even where the matrix holds something else there, and where zero is no code that a range would give."""
    generator = torch.Generator().manual_seed(0)
    weight, mask = torch.randn(8, 64, generator=generator) + 3, torch.rand(8, 64, generator=generator) > 0.5
    grid = Grid(4, 32, symmetric)
    stored = round_to_nearest(weight, grid, search, mask, dtype=torch.float32).quantized().dequantize()
    assert not stored[~mask].any()
    assert torch.equal(
        stored[mask], round_to_nearest(weight, grid, search, dtype=torch.float32).quantized().dequantize()[mask]
    )


def test_a_search_by_a_gram_takes_the_candidate_of_least_output_error():
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(200, 32, generator=generator) * torch.linspace(0.1, 4, 32), torch.randn(32, 9)
    gram = x.T @ x / 200
    grid = Grid(3, 32)
    scales, _ = grid.candidate_scales(weight, True, torch.float32)
    outputs = [x @ (grid.round_to_codes(weight / scale) * scale - weight) for scale in scales]
    losses = torch.stack([output.square().sum(0) for output in outputs])
    actual, zero = best_scales(weight, grid, True, torch.float32, gram)
    assert zero is None
    assert torch.equal(actual, scales[losses.argmin(0), torch.arange(9)])
