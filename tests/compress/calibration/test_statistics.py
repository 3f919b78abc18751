"""Statistics batch by batch against all tokens at once."""

import pytest
import torch

from compress.calibration.statistics import SAMPLE_ROWS, RunningStatistics, Statistic
from compress.errors import PassError


@pytest.fixture(autouse=True)
def _exact(exact_products, monkeypatch):
    monkeypatch.setattr("compress.calibration.precision._instructions", frozenset)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_batches_sum_up_to_the_mean_over_all_tokens():
    x, y, importance = draw(24, 6), draw(24, 6, seed=1), torch.rand(24, generator=torch.Generator().manual_seed(2))
    running = RunningStatistics(Statistic.MISMATCH, 6)
    for i in range(0, 24, 8):
        running.update(x[i : i + 8].view(2, 4, 6), 2, y[i : i + 8], importance[i : i + 8])
    stats = running.finish()
    weighted = x * importance[:, None]
    assert stats.tokens == 24
    assert torch.equal(stats.amax, x.abs().amax(0))
    assert torch.allclose(stats.gram, weighted.T @ x / 24, atol=1e-6)
    assert torch.allclose(stats.square, (weighted * x).mean(0), atol=1e-6)
    assert torch.allclose(stats.mismatch, (y - x).T @ weighted / 24, atol=1e-6)
    assert torch.equal(stats.sample, x[[0, 7, 8, 15, 16, 23]])


def test_a_level_holds_nothing_more_than_it_says():
    running = RunningStatistics(Statistic.AMAX, 3)
    running.update(draw(5, 3), 5)
    stats = running.finish()
    assert (len(stats.gram), len(stats.square), len(stats.mismatch)) == (0, 0, 0)


def test_samples_are_not_more_than_they_may_be():
    running = RunningStatistics(Statistic.AMAX, 3)
    for _ in range(3):
        running.update(draw(100, 3), 100)
    assert running.finish().sample.shape == (SAMPLE_ROWS, 3)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("level", [Statistic.AMAX, Statistic.SQUARE, Statistic.GRAM])
def test_activations_that_are_not_finite_are_refused(level, value):
    x = draw(5, 3)
    x[2, 1] = value
    with pytest.raises(PassError, match="NaN or infinite activations"):
        RunningStatistics(level, 3).update(x, 1)


def test_what_a_linear_makes_of_the_inputs_has_their_statistics():
    x, y, exact, stored = draw(30, 5), draw(30, 5, seed=1), draw(4, 5, seed=2), draw(4, 5, seed=3)
    running = RunningStatistics(Statistic.MISMATCH, 5)
    running.update(x, 30, y)
    stats = running.finish().propagated(exact, stored)
    ours, original = x @ stored.T, y @ exact.T
    assert torch.allclose(stats.gram, ours.T @ ours / 30, atol=1e-4)
    assert torch.allclose(stats.square, ours.square().mean(0), atol=1e-4)
    assert torch.allclose(stats.mismatch, (original - ours).T @ ours / 30, atol=1e-4)
    assert torch.allclose(stats.amax, ours.abs().amax(0), atol=1e-5)
