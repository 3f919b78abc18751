"""Metrics against a direct computation in torch."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from compress.benchmarks.metrics import compare_logits, cosine, mean_with_error, perplexity, window_nll


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
    assert perplexity([nll, nll]) == (pytest.approx(64.0), 0.0)


def test_perplexity_and_its_error():
    value, error = perplexity([1.0, 2.0, 3.0])
    assert value == pytest.approx(math.exp(2.0))
    assert error == pytest.approx(math.exp(2.0) / math.sqrt(3))


def test_mean_with_error():
    assert mean_with_error([2.0, 4.0, 6.0]) == (4.0, pytest.approx(2 / math.sqrt(3)))
    assert mean_with_error([5.0]) == (5.0, 0.0)


def test_cosine():
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 5, 16)).astype(np.float32)
    expected = functional.cosine_similarity(torch.from_numpy(a).double(), torch.from_numpy(b).double())
    assert cosine(a, b) == pytest.approx(expected.numpy(), rel=1e-12)
    assert cosine(a, np.zeros_like(a)).tolist() == [0.0] * 5
