"""Sparsity solvers against plain loops, dense least squares and exact counts."""

from itertools import pairwise

import pytest
import torch

from compress.passes.solvers.gptq import Hessian
from compress.passes.solvers.sparsity import refine_fixed_mask, score_mask, sparsegpt, two_of_four, unstructured
from tests.support.tensors import F64, correlated, gaussian, output_loss


def hessian_of(features):
    x = correlated(features)
    return Hessian(x.T @ x / len(x), None, 1, "natural")


def naive_sparsegpt(weight, damped, choose, width):
    """Columns one after another; every error is spread by the inverse Hessian of the columns that are still to come."""
    x, mask = weight.to(F64).clone(), torch.ones_like(weight, dtype=torch.bool)
    for j in range(x.shape[1]):
        inverse = torch.linalg.inv(damped[j:, j:])
        if j % width == 0:
            end = min(j + width, x.shape[1])
            diagonal = [float(torch.linalg.inv(damped[k:, k:])[0, 0]) for k in range(j, end)]
            scores = x[:, j:end].square() / torch.tensor(diagonal, dtype=F64)
            mask[:, j:end] = choose(scores.T).T
        gone = torch.where(mask[:, j], 0.0, x[:, j])
        x[:, j:] -= torch.outer(gone / inverse[0, 0], inverse[0])
        x[:, j] *= mask[:, j]
    return x, mask


@pytest.mark.parametrize(("choose", "width"), [(two_of_four, 4), (unstructured(0.5), 128), (unstructured(0.3), 128)])
@pytest.mark.parametrize("features", [48, 160])
def test_sparsegpt_is_the_plain_column_loop(choose, width, features):
    hessian, weight = hessian_of(features), gaussian(8, features)
    actual, mask = sparsegpt(weight, hessian, choose, width)
    expected, where = naive_sparsegpt(weight, hessian.sorted.to(F64), choose, width)
    assert torch.equal(mask, where)
    assert torch.allclose(actual.to(F64), expected, atol=1e-4)
    assert not actual[~mask].any()


def test_sparsegpt_loses_less_than_wanda_than_magnitude():
    hessian, weight = hessian_of(128), gaussian(32, 128)
    gram = hessian.sorted
    actual, _ = sparsegpt(weight, hessian, two_of_four, 4)
    wanda = weight * score_mask(weight, gram.diagonal().sqrt(), two_of_four)
    magnitude = weight * score_mask(weight, None, two_of_four)
    assert output_loss(actual - weight, gram) < 0.75 * output_loss(wanda - weight, gram)
    assert output_loss(wanda - weight, gram) < 0.75 * output_loss(magnitude - weight, gram)


def test_masks_have_exact_counts():
    scores = gaussian(132, 8).abs()
    assert (unstructured(0.5)(scores).sum(0) == 66).all()
    assert (unstructured(0.3)(scores).sum(0) == 132 - 39).all()
    assert (unstructured(0.29)(gaussian(100, 2)).sum(0) == 71).all()  # not 72: 0.29 * 100 is a little less than 29
    assert (two_of_four(scores).unflatten(0, (-1, 4)).sum(1) == 2).all()


def test_the_smallest_go_with_regard_to_their_inputs():
    weight = torch.tensor([[1.0, -2.0, 3.0, -4.0], [4.0, 3.0, -2.0, 1.0]])
    assert score_mask(weight, None, two_of_four).tolist() == [[False, False, True, True], [True, True, False, False]]
    activity = torch.tensor([10.0, 1.0, 1.0, 1.0])
    assert score_mask(weight, activity, two_of_four).tolist() == [
        [True, False, False, True],
        [True, True, False, False],
    ]


@pytest.mark.parametrize("steps", [1, 12])
def test_zeros_that_are_there_already_count_among_those_that_go(steps):
    weight = torch.tensor([[5.0, -2.0, 3.0, -4.0]])
    nonzero = torch.tensor([[False, True, True, True]])
    assert score_mask(weight, None, two_of_four, nonzero).tolist() == [[False, False, True, True]]
    hessian = hessian_of(64)
    old = gaussian(8, 64) > -0.3
    _, mask = sparsegpt(gaussian(8, 64) * old, hessian, unstructured(0.6), nonzero=old)
    assert not (mask & ~old).any()
    assert (mask.sum(1) == 64 - 38).all()


def test_the_refinement_reaches_the_least_squares_solution():
    gram, target = hessian_of(24).sorted, gaussian(6, 24)
    mask = score_mask(target, None, two_of_four)
    actual = refine_fixed_mask(target, mask, target, gram, steps=60)
    for row, nonzero, aim in zip(actual.to(F64), mask, target.to(F64), strict=True):
        inner = gram.to(F64)[nonzero][:, nonzero]
        best = torch.linalg.solve(inner, gram.to(F64)[nonzero] @ aim)
        assert torch.allclose(row[nonzero], best, atol=1e-4)
        assert not row[~nonzero].any()


def test_every_step_of_the_refinement_lowers_the_loss():
    gram, target = hessian_of(128).sorted, gaussian(16, 128)
    mask = score_mask(target, gram.diagonal().sqrt(), two_of_four)
    losses = [output_loss(refine_fixed_mask(target, mask, target, gram, steps) - target, gram) for steps in range(13)]
    assert losses[0] == pytest.approx(output_loss(target * mask - target, gram))
    assert all(after < before for before, after in pairwise(losses))
    assert losses[12] < 0.5 * losses[0]


def test_a_finished_refinement_stays_where_it_is():
    target = gaussian(4, 16)
    everywhere = torch.ones_like(target, dtype=torch.bool)
    assert torch.equal(refine_fixed_mask(target, everywhere, target, torch.eye(16)), target)
