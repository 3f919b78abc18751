"""Metrics against a direct computation in torch."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from compress.benchmarks.statistics.estimators import exponential, mean, quantile_over_windows
from compress.benchmarks.statistics.logits import compare_logits, cosine, log_softmax, window_nll


@pytest.fixture
def window() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """150 positions: two whole chunks and a rest; logits wide enough to show a float32 softmax's error."""
    rng = np.random.default_rng(0)
    reference = (8 * rng.standard_normal((150, 301))).astype(np.float32)
    logits = (reference + rng.standard_normal((150, 301))).astype(np.float32)
    return reference, logits, rng.integers(0, 301, 150)


def test_scores_of_a_window(window):
    reference, logits, ids = window
    score = compare_logits(reference, logits, ids)
    original, mine = (torch.from_numpy(x[:-1]).double().log_softmax(-1) for x in (reference, logits))
    nll = functional.nll_loss(mine, torch.from_numpy(ids[1:]))
    kl = functional.kl_div(mine, original, log_target=True, reduction="batchmean")
    assert score.nll == pytest.approx(nll.item(), rel=1e-12)
    assert score.kl == pytest.approx(kl.item(), rel=1e-12)
    assert score.top1 == (mine.argmax(-1) == original.argmax(-1)).double().mean().item()
    assert 0.5 < score.top1 < 1
    each = functional.kl_div(mine, original, log_target=True, reduction="none").sum(-1)
    assert score.kls == pytest.approx(each.numpy(), rel=1e-12)
    assert window_nll(logits, ids) == pytest.approx(score.nll, rel=1e-14)


def test_the_last_position_counts_nowhere(window):
    reference, logits, ids = window
    changed = logits.copy()
    changed[-1] = np.roll(changed[-1], 7)
    assert compare_logits(reference, changed, ids) == compare_logits(reference, logits, ids)


def test_a_model_is_no_distance_from_itself(window):
    reference, _, ids = window
    score = compare_logits(reference, reference, ids)
    assert (score.kl, score.top1) == (0.0, 1.0)


def test_other_vocabularies_are_refused(window):
    reference, logits, ids = window
    with pytest.raises(ValueError, match="301"):
        compare_logits(reference, logits[:, :300], ids)


def test_perplexity_of_a_uniform_model():
    ids = np.arange(10)
    nll = window_nll(np.zeros((10, 64), np.float32), ids)
    found = exponential([nll, nll])
    assert (found.value, found.spread) == (pytest.approx(64.0), 0.0)


def test_an_exponential_and_its_error():
    found = exponential([1.0, 2.0, 3.0])
    assert found.value == pytest.approx(math.exp(2.0))
    assert found.spread == pytest.approx(math.exp(2.0) / math.sqrt(3))
    assert found.windows == pytest.approx([0.0, math.exp(2.0), 2 * math.exp(2.0)])


def test_a_cap_leaves_the_windows_alone():
    found = exponential([0.1, 0.3], at_most=1.0)
    assert (found.value, np.mean(found.windows)) == (1.0, pytest.approx(math.exp(0.2)))


def test_a_broken_model_has_figures_all_the_same():
    assert np.isfinite([*exponential([1e9, 2.0]).windows, exponential([1e9, 1e9]).value]).all()


def test_mean_with_error():
    found = mean([2.0, 4.0, 6.0])
    assert (found.value, found.spread) == (4.0, pytest.approx(2 / math.sqrt(3)))
    assert (mean([5.0]).value, mean([5.0]).spread) == (5.0, 0.0)


def test_a_quantile_over_all_tokens():
    windows = np.random.default_rng(0).gamma(0.3, size=(8, 500))
    found = quantile_over_windows(windows.tolist(), 0.99)
    assert found.value == np.quantile(windows, 0.99)
    assert np.mean(found.windows) == pytest.approx(found.value, rel=1e-12)
    assert quantile_over_windows([[1.0, 3.0]], 0.5).value == 2.0


def test_the_error_of_a_quantile_is_what_repeating_it_shows():
    """Two hundred texts of eight windows: it is some 20 % too wide, never too narrow."""
    draws = np.random.default_rng(0).gamma(0.3, size=(200, 8, 500))
    found = [quantile_over_windows(draw.tolist(), 0.99) for draw in draws]
    spread = np.sqrt(np.mean([each.spread**2 for each in found]))
    assert 1.0 < spread / np.std([each.value for each in found]) < 1.25


def test_cosine():
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 5, 16)).astype(np.float32)
    expected = functional.cosine_similarity(torch.from_numpy(a).double(), torch.from_numpy(b).double())
    assert cosine(a, b) == pytest.approx(expected.numpy(), rel=1e-12)
    assert cosine(a, np.zeros_like(a)).tolist() == [0.0] * 5


@pytest.mark.parametrize(("dtype", "close"), [(np.float32, 1e-4), (np.float64, 1e-12)])
def test_log_softmax_is_that_of_torch(dtype, close):
    logits = np.random.default_rng(0).normal(0, 30, (3, 97)).astype(np.float32)
    logs, before = log_softmax(logits, dtype), logits.copy()
    assert logs.dtype == dtype
    assert logs == pytest.approx(torch.from_numpy(logits.astype(dtype)).log_softmax(-1).numpy(), abs=close)
    assert (logits == before).all()
