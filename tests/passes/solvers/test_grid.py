"""The grid's scales, zero points and codes, against what they are said to be."""

import pytest
import torch

from compress.passes.solvers.grid import Grid
from compress.passes.solvers.rounding import round_to_nearest
from compress.weights.forms import Dense
from compress.weights.stored import StoredForm
from tests.support.tensors import F32


def weight(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("grid", "low", "high"),
    [
        (Grid(2, 32), -2, 1),
        (Grid(3, 32), -4, 3),
        (Grid(4, 32), -8, 7),
        (Grid(8, 32), -127, 127),
        (Grid(2, 32, symmetric=False), -2, 1),
        (Grid(3, 32, symmetric=False), -4, 3),
        (Grid(4, 32, symmetric=False), -8, 7),
        (Grid(8, 32, symmetric=False), -128, 127),
        (Grid(8, 32, levels=63), -63, 63),
    ],
)
def test_codes_span_what_the_bits_hold(grid, low, high):
    assert (grid.qmin, grid.qmax) == (low, high)
    codes = round_to_nearest(weight(64, 256), grid, dtype=F32).quantized().codes
    assert (int(codes.min()), int(codes.max())) == (low, high)


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_magnitude_maps_to_the_lowest_code_whichever_its_sign(bits, sign):
    group = weight(1, 32).clamp(-1, 1)
    group[0, 7] = 3.0 * sign
    stored = round_to_nearest(group, Grid(bits, 32), dtype=F32).quantized()
    lowest = -(1 << (bits - 1))
    assert int(stored.codes[0, 7]) == lowest
    assert float(stored.scale) == 3.0 * sign / lowest
    assert float(stored.dequantize()[0, 7]) == 3.0 * sign


@pytest.mark.parametrize(("grid", "levels"), [(Grid(8, 64), 127), (Grid(8, 64, levels=63), 63)])
def test_ranges_that_are_even_have_positive_scales(grid, levels):
    x = weight(16, 64)
    stored = round_to_nearest(x, grid, dtype=F32).quantized()
    assert torch.equal(stored.scale, x.abs().amax(1, keepdim=True) / levels)
    assert torch.equal(stored.codes.abs().amax(1), torch.full((16,), levels, dtype=torch.int8))


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("shift", [-5.0, -0.7, 0.0, 0.7, 5.0])
def test_an_asymmetric_grid_covers_the_range_and_zero_exactly(bits, shift):
    x = weight(32, 64) + shift
    x[:, 0] = 0.0
    stored = round_to_nearest(x, Grid(bits, 32, symmetric=False), dtype=F32).quantized()
    back = stored.dequantize()
    assert torch.equal(back[:, 0], torch.zeros(32))
    grouped = x.unflatten(1, (-1, 32))
    span = grouped.amax(-1).clamp(min=0) - grouped.amin(-1).clamp(max=0)
    assert torch.allclose(stored.scale, span / ((1 << bits) - 1))
    assert ((back - x).abs().unflatten(1, (-1, 32)).amax(-1) <= stored.scale / 2 * 1.0001 + 1e-6).all()
    assert stored.zero_point.shape == stored.scale.shape


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_codes_are_chosen_for_the_scale_as_it_is_stored(dtype, symmetric):
    """With bfloat16 scales, off by up to 0.4 %, codes for the unrounded scale would be wrong in many places."""
    x = weight(64, 128).to(dtype)
    stored = round_to_nearest(x, Grid(8, 64, symmetric), dtype=dtype).quantized()
    assert stored.scale.dtype == dtype
    wide = stored.scale.float().repeat_interleave(64, 1)
    zero = 0 if symmetric else stored.zero_point.float().repeat_interleave(64, 1)
    low = -127 if symmetric else -128
    assert torch.equal(stored.codes.float(), (x.float() / wide + zero).round().clamp(low, 127))


@pytest.mark.parametrize("grid", [Grid(4, 32), Grid(8, 64), Grid(8, 64, False), Grid(3, 128), Grid(8, 128, levels=63)])
def test_scales_are_stored_in_16_bits(grid):
    """Those of float32 in float16, to which none is off by more than one part in 2048."""
    x = weight(8, 128)
    assert [grid.scale_dtype(x.to(dtype)) for dtype in (torch.float16, torch.bfloat16)] == [
        torch.float16,
        torch.bfloat16,
    ]
    stored = round_to_nearest(x, grid, True).quantized()
    assert stored.scale.dtype == grid.scale_dtype(x) == torch.float16
    wide = stored.scale.float().repeat_interleave(grid.group, 1)
    zero = 0 if grid.symmetric else stored.zero_point.float().repeat_interleave(grid.group, 1)
    assert torch.equal(stored.codes.float(), (x / wide + zero).round().clamp(grid.qmin, grid.qmax))
    assert stored.nbytes() == grid.stored_form(StoredForm.of(Dense(x))).nbytes
    zeros = 0 if grid.symmetric else grid.bits * 8 * 128 // grid.group // 8
    assert stored.nbytes() == 8 * 128 * grid.bits // 8 + 2 * (8 * 128 // grid.group) + zeros


@pytest.mark.parametrize("size", [1e-9, 1e-5, 1e7, 1e30])
def test_a_group_that_float16_has_no_scale_for_has_one_of_bfloat16(size):
    """As for the matrix beside it, so that the two can be laid on top of each other; the codes make up for it."""
    x = weight(8, 64)
    x[3, :32] *= size
    x[5] = 0
    stored = round_to_nearest(x, Grid(4, 32), True).quantized()
    assert stored.scale.dtype == torch.bfloat16
    off = (stored.dequantize() - x).abs().unflatten(1, (-1, 32)).amax(-1)
    assert (off <= stored.scale.float().abs() * 2.5).all()  # a searched range cuts extremes off
    assert (stored.scale[3, 0].abs().float() / size).log2().abs() < 4


@pytest.mark.parametrize("grid", [Grid(b, 32, s) for b in (2, 4, 8) for s in (True, False)])
def test_a_group_of_zeros_has_a_scale_and_stays_zero(grid):
    for search in (False, True):
        stored = round_to_nearest(torch.zeros(2, 64), grid, search, dtype=torch.float16).quantized()
        assert torch.equal(stored.scale, torch.ones(2, 2, dtype=torch.float16))
        assert not stored.dequantize().any()


@pytest.mark.parametrize("grid", [Grid(b, 32, s) for b in (2, 3, 4, 8) for s in (True, False)])
def test_a_search_starts_at_the_plain_range(grid):
    x = weight(32, 10)
    plain, zero = grid.candidate_scales(x, False, F32)
    scales, zeros = grid.candidate_scales(x, True, F32)
    assert plain.shape == (1, 10)
    assert torch.equal(scales[0], plain[0])
    signs = 2 if grid.symmetric and grid.bits < 8 else 1
    assert len(scales) == 1 + 15 * signs
    assert (zeros is None) == (zero is None) == grid.symmetric
    if zeros is not None:
        assert torch.equal(zeros[0], zero[0])
        assert torch.equal(zeros, zeros.round())
        assert grid.qmin <= zeros.min() <= zeros.max() <= grid.qmax


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("bits", "gain"), [(2, 0.86), (3, 0.9), (4, 0.96), (8, 1.0)])
def test_a_search_never_loses(bits, gain, symmetric):
    """In squared error, group by group; the fewer bits the more there is to gain."""
    x = weight(64, 256)
    grid = Grid(bits, 32, symmetric)

    def errors(search):
        off = round_to_nearest(x, grid, search, dtype=F32).quantized().dequantize() - x
        return off.square().unflatten(1, (-1, 32)).sum(-1)

    plain, searched = errors(False), errors(True)
    assert (searched <= plain * (1 + 1e-5)).all()
    assert searched.sum() < plain.sum() * gain


def test_a_proposal_splits_into_its_matrices():
    x = weight(10, 64)
    for grid in (Grid(4, 32), Grid(4, 32, symmetric=False)):
        proposal = round_to_nearest(x, grid)
        parts = [part.quantized() for part in proposal.split([4, 6])]
        for part, rows in zip(parts, x.split([4, 6]), strict=True):
            alone = round_to_nearest(rows, grid).quantized()
            assert torch.equal(part.codes, alone.codes)
            assert torch.equal(part.dequantize(), alone.dequantize())
