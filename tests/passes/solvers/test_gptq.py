"""GPTQ against a plain column loop in float64 that eliminates each input from the inverse Hessian as it goes."""

import pytest
import torch

from compress.passes.solvers.gptq import Hessian, NotPositiveDefiniteError, gptq
from compress.passes.solvers.grid import Grid
from compress.passes.solvers.rounding import round_to_nearest
from tests.support.tensors import F32, correlated, gaussian, gram_of, indefinite, output_loss


def group_aware(diagonal, group):
    """The order, written out: the most active group first, in it the most active column."""
    groups = [range(start, start + group) for start in range(0, len(diagonal), group)]
    groups.sort(key=lambda columns: -max(float(diagonal[j]) for j in columns))
    return [j for columns in groups for j in sorted(columns, key=lambda j: -float(diagonal[j]))]


def span(x, grid):
    """The plain scale and zero point of groups ``[out, group]``."""
    none = torch.zeros(len(x), dtype=x.dtype)
    if grid.symmetric and -grid.qmin == grid.qmax:
        return x.abs().amax(1) / grid.qmax, none
    if grid.symmetric:
        return x.gather(1, x.abs().argmax(1, keepdim=True))[:, 0] / grid.qmin, none
    low, high = x.amin(1).clamp(max=0), x.amax(1).clamp(min=0)
    scale = (high - low) / (grid.qmax - grid.qmin)
    return scale, grid.qmin - low / scale


def sweep(x, inverse, count, scale, zero, grid):
    """Round the first ``count`` columns of ``x`` ``[out, in]``: their values, what is left of the rest, the loss."""
    values, total = [], torch.zeros(len(x), dtype=x.dtype)
    for _ in range(count):
        value = x[:, 0] / scale + zero
        stored = (value.round().clamp(grid.qmin, grid.qmax) - zero) * scale
        error = (x[:, 0] - stored) / inverse[0, 0]
        total += error.square() * inverse[0, 0]
        x = x[:, 1:] - error[:, None] * inverse[0, 1:]
        inverse = inverse[1:, 1:] - torch.outer(inverse[1:, 0], inverse[0, 1:]) / inverse[0, 0]
        values.append(value)
    return torch.stack(values, 1), x, inverse, total


def naive(weight, gram, grid, order, search=False):
    """Values ``[out, in]`` before they are rounded, scales and zero points ``[out, in / group]``, and where a rounding
    was close to a tie. All in float64."""
    damped = gram.double() + 0.01 * gram.diagonal().double().mean() * torch.eye(len(gram), dtype=torch.float64)
    x, inverse = weight.double()[:, order], torch.linalg.inv(damped[order][:, order])
    values, scales, zeros = torch.empty_like(x), {}, {}
    close = torch.zeros(len(x), dtype=torch.bool)
    for start in range(0, len(order), grid.group):
        candidates = []
        for factor in grid.factors.tolist() if search else [1.0]:
            scale, zero = span(x[:, : grid.group], grid)
            scale = scale * factor
            if not grid.symmetric:
                low = x[:, : grid.group].amin(1).clamp(max=0)
                zero = grid.qmin - low * factor / scale
                close |= (zero - zero.floor() - 0.5).abs() < 1e-4
                zero = zero.round().clamp(grid.qmin, grid.qmax)
            candidates.append((scale, zero, *sweep(x, inverse, grid.group, scale, zero, grid)))
        losses = torch.stack([candidate[-1] for candidate in candidates])
        best = losses.argmin(0)
        two = losses.sort(0).values[:2]
        close |= (two[-1] - two[0] < 1e-4 * two[0]) if search else False
        rows = torch.arange(len(x))
        scale, zero, value, rest = (torch.stack([c[i] for c in candidates])[best, rows] for i in (0, 1, 2, 3))
        columns = order[start : start + grid.group]
        values[:, columns] = value
        scales[columns[0] // grid.group], zeros[columns[0] // grid.group] = scale, zero
        x, inverse = rest, candidates[0][4]
    close |= ((values - values.floor() - 0.5).abs() < 1e-4).any(1)
    grouped = [torch.stack([actual[i] for i in range(len(actual))], 1) for actual in (scales, zeros)]
    return values, *grouped, close


def assert_equals_naive(weight, gram, grid, order, search):
    natural = list(range(len(gram)))
    expected, scale, zero, close = naive(
        weight, gram, grid, natural if order == "natural" else group_aware(gram.diagonal(), grid.group), search
    )
    actual = gptq(weight, Hessian(gram, None, grid.group, order), grid, search, F32)
    clear = ~close
    assert clear.float().mean() >= 0.75  # rows in which nothing hangs on the last digits
    stored = actual.quantized()
    assert torch.equal(stored.codes[clear].double(), expected[clear].round().clamp(grid.qmin, grid.qmax))
    assert torch.allclose(stored.scale[clear].double(), scale[clear], rtol=1e-4)
    if stored.zero_point is not None:
        assert torch.equal(stored.zero_point[clear].double(), zero[clear])
    assert actual.values.shape == weight.shape
    plain = round_to_nearest(weight, grid, dtype=F32).quantized().codes
    assert not torch.equal(stored.codes, plain)


@pytest.mark.parametrize("order", ["natural", "gar"])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(
    ("inputs", "group"), [(64, 32), (96, 32), (128, 64), (192, 64), (192, 192), (320, 64), (256, 128)]
)
def test_equals_a_naive_column_loop(inputs, group, symmetric, order):
    """Less than a block of 128 columns, more, and no multiple of it; groups, and whole channels longer than a block."""
    gram = gram_of(correlated(inputs))
    assert_equals_naive(gaussian(16, inputs), gram, Grid(4, group, symmetric), order, search=False)


@pytest.mark.parametrize("grid", [Grid(2, 32), Grid(3, 32, False), Grid(8, 32), Grid(8, 96, levels=63)])
def test_other_widths_equal_it_too(grid):
    assert_equals_naive(gaussian(16, 96), gram_of(correlated(96)), grid, "gar", search=False)


@pytest.mark.parametrize("order", ["natural", "gar"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_a_search_takes_the_scale_whose_sweep_loses_least(symmetric, order):
    assert_equals_naive(gaussian(16, 160), gram_of(correlated(160)), Grid(3, 32, symmetric), order, search=True)


def test_columns_go_by_activity_and_groups_stay_whole():
    diagonal = torch.tensor([1.0, 9, 3, 2, 7, 8, 6, 10, 4, 5, 0.5, 0.1])
    hessian = Hessian(torch.diag(diagonal), None, 4, "gar")
    assert hessian.order.tolist() == [7, 5, 4, 6, 1, 2, 3, 0, 9, 8, 10, 11]
    assert hessian.order.tolist() == group_aware(diagonal, 4)


def test_the_factor_is_that_of_the_inverse():
    gram = gram_of(correlated(48))
    hessian = Hessian(gram, None, 16, "natural")
    damped = gram.double() + 0.01 * gram.diagonal().double().mean() * torch.eye(48, dtype=torch.float64)
    upper = hessian.upper.double()
    assert torch.equal(upper, upper.triu())
    assert torch.allclose(upper.T @ upper, torch.linalg.inv(damped), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("given", "damping"), [((), 0.1), ((0.01,), 0.01), ((0.003,), 0.01)])
def test_correction_is_the_ridge_regression_onto_the_original_outputs(given, damping):
    """argmin ‖y Wᵀ - x Ŵᵀ‖² / tokens + λ ‖Ŵ - W‖², solved as one overdetermined system."""
    x, weight = correlated(64).double(), gaussian(10, 64).double()
    y = x + 0.3 * x.roll(1, 1) + 0.2 * gaussian(*x.shape, seed=9)
    gram, mismatch = gram_of(x), (y - x).T @ x / len(x)
    ridge = (damping * gram.diagonal().mean()) ** 0.5 * torch.eye(64, dtype=torch.float64)
    tall = torch.cat([x / len(x) ** 0.5, ridge])
    target = torch.cat([y @ weight.T / len(x) ** 0.5, ridge @ weight.T])
    expected = torch.linalg.lstsq(tall, target).solution.T
    moved = Hessian(gram.float(), mismatch.float(), 32, "gar", *given).corrected(weight.float())
    assert torch.allclose(moved.double(), expected, atol=1e-4)
    assert (expected - weight).abs().max() > (0.3 if damping == 0.01 else 0.2)
    same = Hessian(gram.float(), torch.zeros(64, 64), 32, "gar").corrected(weight.float())
    assert torch.allclose(same, weight.float(), atol=1e-5)  # no mismatch, no move


def test_correction_lowers_the_error_against_the_original_model():
    x, weight = correlated(128), gaussian(64, 128)
    y = x + 0.15 * x.roll(1, 1)
    grid, gram = Grid(4, 32), gram_of(x)

    def error(mismatch):
        hessian = Hessian(gram, mismatch, 32, "gar")
        stored = gptq(hessian.corrected(weight), hessian, grid, True, F32).quantized().dequantize()
        return float((y @ weight.T - x @ stored.T).square().mean() / (y @ weight.T).square().mean())

    assert error((y - x).T @ x / len(x)) < 0.5 * error(None)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("bits", "ratio"), [(2, 0.5), (3, 0.5), (4, 0.5), (8, 0.6)])
def test_on_correlated_inputs_the_error_is_half_of_roundings(bits, ratio, symmetric):
    weight, gram, grid = gaussian(64, 256), gram_of(correlated(256)), Grid(bits, 32, symmetric)
    solved = gptq(weight, Hessian(gram, None, 32, "gar"), grid, True, F32).quantized().dequantize()
    rounded = round_to_nearest(weight, grid, True, dtype=F32).quantized().dequantize()
    assert output_loss(solved - weight, gram) < ratio * output_loss(rounded - weight, gram)


@pytest.mark.parametrize("group", [32, 256])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_a_search_gains_on_average(bits, group):
    plain = searched = 0.0
    for seed in range(3):
        weight, gram, grid = gaussian(32, 256, seed=seed), gram_of(correlated(256, seed=seed + 5)), Grid(bits, group)
        hessian = Hessian(gram, None, group, "gar")
        plain += output_loss(gptq(weight, hessian, grid, False, F32).quantized().dequantize() - weight, gram)
        searched += output_loss(gptq(weight, hessian, grid, True, F32).quantized().dequantize() - weight, gram)
    assert searched < 0.95 * plain


@pytest.mark.parametrize("search", [True, False])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("group", [32, 64, 192])
def test_frozen_zeros_stay_and_their_error_is_made_good(group, symmetric, search):
    weight, gram = gaussian(16, 192) + 0.3, gram_of(correlated(192))
    mask = gaussian(16, 192, seed=3) > 0
    grid, hessian = Grid(4, group, symmetric), Hessian(gram, None, group, "gar")
    stored = gptq(weight, hessian, grid, search, F32, mask).quantized().dequantize()
    assert not stored[~mask].any()
    naively = round_to_nearest(weight, grid, search, mask, dtype=F32).quantized().dequantize()
    assert output_loss(stored - weight, gram) < 0.6 * output_loss(naively - weight, gram)


@pytest.mark.parametrize("symmetric", [True, False])
def test_dead_inputs_get_zero_columns(symmetric):
    x = correlated(64)
    x[:, [3, 40, 41]] = 0
    hessian = Hessian(gram_of(x), gram_of(x), 32, "gar")
    grid = Grid(4, 32, symmetric)
    stored = gptq(hessian.corrected(gaussian(8, 64)), hessian, grid, True, F32).quantized().dequantize()
    assert not stored[:, [3, 40, 41]].any()
    assert stored[:, :3].any()
    assert hessian.dead.nonzero().flatten().tolist() == [3, 40, 41]


@pytest.mark.parametrize("dead", [[], [5]])
def test_the_inputs_unit_does_not_matter(dead):
    """A dead input among small ones must not swell the damping."""
    x, weight, grid = correlated(64), gaussian(8, 64), Grid(4, 32)
    x[:, dead] = 0
    y = x + 0.1 * x.roll(1, 1)

    def codes(unit):
        hessian = Hessian(gram_of(x * unit), (y * unit).T @ (x * unit) / len(x), 32, "gar")
        return gptq(hessian.corrected(weight), hessian, grid, True, F32).quantized().codes

    assert torch.equal(codes(2.0**-12), codes(1.0))


@pytest.mark.parametrize(("pull", "damping"), [(0.5, 0.01), (1.05, 0.1), (1.5, 1.0), (8.0, 10.0)])
def test_damping_rises_until_the_matrix_can_be_factored(pull, damping):
    assert Hessian(indefinite(pull), None, 32, "natural").damping == pytest.approx(damping)


@pytest.mark.parametrize("gram", [indefinite(50.0), torch.full((64, 64), float("nan"))])
def test_what_cannot_be_factored_is_refused(gram):
    with pytest.raises(NotPositiveDefiniteError):
        Hessian(gram, None, 32, "natural")
