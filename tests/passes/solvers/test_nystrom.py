"""Fitting and elimination against brute force: dense least squares, and every choice tried out."""

import pytest
import torch

from compress.passes.solvers.nystrom import eliminate, energy, ridge


def moments(outputs=5, inputs=8, tokens=40, seed=0):
    """A matrix, and the inputs that reach it."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(inputs, inputs, generator=generator, dtype=torch.float64)
    x = torch.randn(tokens, inputs, generator=generator, dtype=torch.float64) @ mix
    return torch.randn(outputs, inputs, generator=generator), x


def least_squares(weight, x, remaining, shift):
    """V that minimizes E‖W x - V x_S‖² + λ‖V - W_S‖², by stacking the ridge under the tokens."""
    w, scale = weight.double(), len(x) ** -0.5
    rows = torch.cat([x[:, remaining] * scale, shift**0.5 * torch.eye(len(remaining), dtype=torch.float64)])
    targets = torch.cat([x @ w.T * scale, shift**0.5 * w[:, remaining].T])
    return torch.linalg.lstsq(rows, targets).solution.T


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("shift", [0.01, 1.0])
def test_the_kept_weights_solve_the_least_squares_problem(size, shift):
    weight, x = moments()
    gram = x.T @ x / len(x)
    units = 8 // size
    remaining, fitted = eliminate(weight, gram.float(), shift, units, units // 2)
    assert int(remaining.sum()) == units - units // 2
    index = remaining.repeat_interleave(size).nonzero().flatten()
    assert torch.allclose(fitted.double(), least_squares(weight, x, index, shift), atol=1e-4)


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("seed", range(4))
def test_the_first_to_go_is_the_one_that_a_trial_of_all_finds(size, seed):
    weight, x = moments(seed=seed)
    gram, shift, units = x.T @ x / len(x), 0.3, 8 // size
    losses = []
    for unit in range(units):
        index = torch.tensor([i for i in range(8) if i // size != unit])
        off = x @ weight.double().T - x[:, index] @ least_squares(weight, x, index, shift).T
        losses.append(float(off.square().sum(1).mean()))
    remaining, _ = eliminate(weight, gram.float(), shift, units, 1)
    assert remaining.tolist() == [unit != losses.index(min(losses)) for unit in range(units)]


def test_a_copy_goes_and_its_twin_takes_its_weight():
    gram = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    remaining, fitted = eliminate(torch.tensor([[1.0, 2.0, 3.0]]), gram, 1e-6, 3, 1)
    assert remaining[2] and int(remaining.sum()) == 2
    assert torch.allclose(fitted, torch.tensor([[3.0, 3.0]]), atol=1e-4)


def test_inputs_that_are_always_zero_go_first_and_change_nothing():
    weight, x = moments()
    x[:, [2, 5]] = 0
    remaining, fitted = eliminate(weight, (x.T @ x / len(x)).float(), 0.1, 8, 2)
    assert remaining.tolist() == [True, True, False, True, True, False, True, True]
    assert torch.allclose(fitted, weight[:, remaining], atol=1e-5)


def test_energy_is_what_each_run_of_inputs_adds_to_the_outputs():
    weight, gram = torch.tensor([[1.0, 2.0, 0.0, 1.0], [0.0, 1.0, 3.0, 0.0]]), torch.diag(torch.tensor([4.0, 1, 2, 0]))
    assert energy(weight, gram, 4).tolist() == [4.0, 5.0, 18.0, 0.0]
    gram[0, 1] = gram[1, 0] = 0.5  # the runs' own columns aren't independent: 2 · 1 · 2 · 0.5
    assert energy(weight, gram, 2).tolist() == [11.0, 18.0]


def test_the_ridge_falls_with_the_text():
    gram = 2 * torch.eye(6)
    assert ridge(gram, 8) == 6.0
    assert ridge(gram, 4800) == 0.01
    assert ridge(torch.zeros(6, 6), 8) == 0.0
