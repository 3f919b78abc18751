"""Whitened SVD against dense algebra: no product of its rank loses less."""

import pytest
import torch

from compress.calibration.statistics import RunningStatistics, Statistic
from compress.passes.solvers.whitened_svd import OutputMetric
from tests.support.tensors import F64, gaussian, input_statistics


def squared(off, gram):
    return float(((off.to(F64) @ gram.to(F64)) * off.to(F64)).sum())


@pytest.mark.parametrize("shape", [(24, 16), (16, 24)])
@pytest.mark.parametrize("rank", [1, 5, 12])
def test_the_loss_is_that_of_the_directions_left_out(shape, rank):
    inputs, weight = input_statistics(shape[1]), gaussian(*shape)
    spectrum = OutputMetric(inputs).spectrum(weight)
    product = spectrum.product(rank, F64)
    assert product.left.shape == (shape[0], rank)
    assert product.right.shape == (rank, shape[1])
    assert squared(product.dequantize() - weight, inputs.gram) == pytest.approx(
        float(spectrum.losses[rank:].sum()), 1e-3
    )


def test_no_product_of_that_rank_loses_less():
    """Reduced-rank regression: project the outputs on their leading directions, with a dense eigendecomposition."""
    inputs, weight = input_statistics(16), gaussian(24, 16)
    gram, exact = inputs.gram.to(F64), weight.to(F64)
    _, vectors = torch.linalg.eigh(exact @ gram @ exact.T)
    leading = vectors[:, -6:]
    best = squared(leading @ leading.T @ exact - exact, gram)
    actual = OutputMetric(inputs).spectrum(weight).product(6, torch.float32).dequantize()
    plain = OutputMetric(inputs, whiten=False).spectrum(weight).product(6, torch.float32).dequantize()
    assert squared(actual - exact, gram) == pytest.approx(best, rel=1e-3)
    assert squared(plain - exact, gram) > 1.3 * best


@pytest.mark.parametrize("shape", [(24, 16), (16, 24)])
def test_losses_alone_are_those_of_the_spectrum(shape):
    for metric in (OutputMetric(input_statistics(shape[1])), OutputMetric(None)):
        exact = metric.spectrum(gaussian(*shape)).losses
        assert torch.allclose(metric.losses(gaussian(*shape)), exact, atol=1e-12 * float(exact[0]))


def test_without_inputs_it_is_the_plain_svd():
    weight = gaussian(24, 16)
    sigma = torch.linalg.svdvals(weight.to(F64))
    assert torch.allclose(OutputMetric(None).spectrum(weight).sigma, sigma)
    assert torch.allclose(OutputMetric(input_statistics(16), whiten=False).spectrum(weight).sigma, sigma)


def test_inputs_that_are_always_zero_do_no_harm():
    inputs = input_statistics(16)
    inputs.gram[3], inputs.gram[:, 3] = 0, 0
    product = OutputMetric(inputs).spectrum(gaussian(24, 16)).product(8, torch.float32)
    assert torch.isfinite(product.dequantize()).all()
    nothing = RunningStatistics(Statistic.GRAM, 16)
    nothing.update(torch.zeros(8, 16), 8)
    assert OutputMetric(nothing.finish()).root is None


def test_the_target_solves_the_normal_equations_of_the_mismatch():
    inputs, weight = input_statistics(16, Statistic.MISMATCH), gaussian(4, 16)
    gram, mismatch = inputs.gram.to(F64), inputs.mismatch.to(F64)
    damped = gram + 0.01 * gram.diagonal().mean() * torch.eye(16, dtype=F64)
    expected = weight.to(F64) + weight.to(F64) @ mismatch @ torch.linalg.inv(damped)
    assert torch.allclose(OutputMetric(inputs).target(weight, 0.01), expected, atol=1e-5)
    assert torch.equal(OutputMetric(input_statistics(16)).target(weight, 0.01), weight.to(F64))
