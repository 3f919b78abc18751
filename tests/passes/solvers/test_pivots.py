"""Pivots against dense algebra: the same product in fewer numbers, with no large coefficient."""

import itertools

import pytest
import torch

from compress.passes.solvers.pivots import pivoted_product, pivots
from tests.support.tensors import gaussian


@pytest.mark.parametrize(("out", "features", "rank"), [(96, 64, 40), (32, 128, 8), (5, 4, 1), (12, 12, 11)])
def test_a_product_is_the_same_in_fewer_numbers(out, features, rank):
    left, right = gaussian(out, rank).double(), gaussian(rank, features, seed=1).double()
    actual = pivoted_product(left, right, torch.float32)
    assert actual.shape == (out, features)
    assert torch.allclose(actual.dequantize().double(), left @ right, atol=1e-4)
    assert actual.nbytes() == 4 * rank * (out + features - rank) + 4 * out
    assert actual.order.sort().values.tolist() == list(range(out))
    assert float(actual.left.tensor.abs().max()) <= 1.02
    assert {tensor.dtype for tensor in (actual.left.tensor, actual.right.tensor)} == {torch.float32}


def test_pivots_are_outputs_of_the_right_factor_itself():
    left, right = gaussian(24, 6).double(), gaussian(6, 16, seed=1).double()
    actual = pivoted_product(left, right, torch.float64)
    pivot = actual.order < 6
    assert torch.allclose((left @ right)[pivot].sum(0), actual.right.tensor.sum(0))
    assert int(pivot.sum()) == 6


def test_exchanges_bound_what_elimination_lets_grow():
    """Rows that partial pivoting takes in their order although coefficients grow like 2ⁿ (Wilkinson's matrix)."""
    size = 12
    matrix = torch.eye(size).double() - torch.ones(size, size).double().tril(-1)
    matrix[:, -1] = 1
    left = torch.cat([matrix, 0.5 * torch.eye(size).double()])
    first = torch.linalg.solve(matrix, left, left=False)
    rows, coefficients = pivots(left)
    assert float(coefficients.abs().max()) <= 1.02
    assert torch.allclose(coefficients @ left[rows], left)
    assert float(left[rows].det().abs()) >= float(matrix.det().abs()) or float(first.abs().max()) <= 1.02


def test_the_determinant_is_about_the_largest_there_is():
    left = gaussian(9, 3).double()
    rows, _ = pivots(left)
    best = max(float(left[list(chosen)].det().abs()) for chosen in itertools.combinations(range(9), 3))
    assert float(left[rows].det().abs()) >= 0.7 * best
