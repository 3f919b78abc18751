"""Output errors from the Gram of the inputs against the outputs themselves."""

import pytest
import torch

from compress.weights.error import output_error


def test_the_error_is_that_of_the_outputs():
    random = torch.Generator().manual_seed(0)
    exact, x = torch.randn(5, 8, generator=random), torch.randn(40, 8, generator=random)
    stored = exact + 0.1 * torch.randn(5, 8, generator=random)
    naive = ((stored - exact) @ x.T).square().sum() / (exact @ x.T).square().sum()
    assert output_error(exact, stored, x.T @ x / 40) == pytest.approx(float(naive), rel=1e-5)


def test_no_difference_is_zero_and_so_is_an_output_of_zero():
    exact, gram = torch.ones(2, 3), torch.eye(3)
    assert output_error(exact, exact, gram) == 0
    assert output_error(torch.zeros(2, 3), exact, gram) == 0
    assert output_error(exact, exact + 1, torch.zeros(3, 3)) == 0


def test_rows_may_be_looked_at_some_at_a_time(monkeypatch):
    random = torch.Generator().manual_seed(0)
    exact, stored, x = (torch.randn(rows, 8, generator=random) for rows in (5, 5, 40))
    at_once = output_error(exact, stored, x.T @ x)
    monkeypatch.setattr("compress.weights.error._ROWS", 2)
    assert output_error(exact, stored, x.T @ x) == pytest.approx(at_once, rel=1e-6)
