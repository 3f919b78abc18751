"""Metrics against a direct computation in torch."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from compress.benchmarks.statistics.estimators import exponential
from compress.benchmarks.statistics.logits import (
    Cosines,
    compare_embeddings,
    compare_logits,
    cosine,
    log_softmax,
    score_original,
)


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
    kls = functional.kl_div(mine, original, log_target=True, reduction="none").sum(-1)
    assert score.kls == pytest.approx(kls.numpy(), rel=1e-12)
    assert score_original(logits, ids).nll == pytest.approx(score.nll, rel=1e-14)


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
    nll = score_original(np.zeros((10, 64), np.float32), ids).nll
    perplexity = exponential([nll, nll])
    assert (perplexity.value, perplexity.spread) == (pytest.approx(64.0), 0.0)


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


def test_the_original_expects_the_loss_of_what_it_writes(window):
    reference, _, ids = window
    score = score_original(reference, ids)
    logs = torch.from_numpy(reference[:-1]).double().log_softmax(-1)
    assert score.entropy == pytest.approx(-(logs.exp() * logs).sum(-1).mean().item(), rel=1e-12)
    assert score.uniform == math.log(reference.shape[-1])
    uniform = score_original(np.zeros((10, 64), np.float32), np.arange(10))
    assert uniform.entropy == pytest.approx(uniform.nll) == pytest.approx(uniform.uniform)


def test_what_all_sentences_share_hides_no_ruin():
    """Embeddings of one direction and a little of their own: without their own the cosine is 0.999."""
    rng = np.random.default_rng(2)
    reference = np.concatenate([np.full((8, 1), 10.0), rng.normal(0, 0.1, (8, 15))], 1).astype(np.float32)
    ruined = np.concatenate([np.full((8, 1), 10.0), rng.normal(0, 0.1, (8, 15))], 1).astype(np.float32)
    scores = compare_embeddings(reference, ruined)
    assert min(scores.values) > 0.99
    assert abs(np.mean(scores.centered)) < 0.5
    original = Cosines.of_original(reference)
    assert (original.values, original.centered) == ([1.0] * 8, (1.0,) * 8)
    assert original.alike > 0.99
    assert compare_embeddings(reference, reference).centered == pytest.approx([1.0] * 8)
    assert compare_embeddings(reference[:1], ruined[:1]).centered == ()
