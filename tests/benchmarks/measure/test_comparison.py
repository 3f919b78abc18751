"""Outputs of contenders against the original's, of workers whose scores are made up."""

import math

import numpy as np
import pytest

from compress.benchmarks.data.evaluation import Evaluation
from compress.benchmarks.measure.comparison import EmbeddingComparison, LogitsComparison
from compress.benchmarks.statistics.logits import WindowScore
from compress.benchmarks.worker.protocol import (
    CompareEmbeddings,
    CompareLogits,
    Cosines,
    ReferenceEmbeddings,
    ReferenceLogits,
)
from compress.modeling.kinds import ENCODER
from compress.progress import Silent
from tests.support.workers import FakeWorker

WINDOWS = np.arange(40).reshape(10, 4)


def test_perplexity_is_over_the_originals_window_by_window(tmp_path):
    """A window's loss is a tenth of its first token; the other contender loses 0.1 more in each."""
    original = FakeWorker(lambda request: WindowScore.of_original(request.ids[0] / 10))
    other = FakeWorker(lambda request: WindowScore(request.ids[0] / 10 + 0.1, 0.02, 0.75, (0.01, 0.03)))
    first, second = LogitsComparison(Evaluation.of_text(WINDOWS), tmp_path / "x.npy").measure(
        [original, other], Silent()
    )
    losses = WINDOWS[:, 0] / 10
    assert first["perplexity"].value == pytest.approx(math.exp(losses.mean()))
    assert (first["perplexity_ratio"].value, first["kl"].value, first["top1"].value) == (1.0, 0.0, 1.0)
    assert second["perplexity_ratio"].value == pytest.approx(math.exp(0.1))
    assert second["perplexity_ratio"].spread == pytest.approx(0, abs=1e-9)  # though the windows differ widely
    assert second["retention"].value == pytest.approx(math.exp(-0.1))
    assert (second["kl"].value, second["top1"].value) == (pytest.approx(0.02), 0.75)
    assert second["kl_p99"].value == pytest.approx(np.quantile([0.01, 0.03] * 10, 0.99))
    assert [type(request) for request in original.requests] == [ReferenceLogits] * 10
    assert [type(request) for request in other.requests] == [CompareLogits] * 10
    assert {request.file for request in original.requests + other.requests} == {str(tmp_path / "x.npy")}


def test_embeddings_are_compared_in_batches_of_eight(tmp_path):
    original = FakeWorker(lambda request: Cosines([1.0] * len(request.ids)), ENCODER)
    other = FakeWorker(lambda request: Cosines([0.9, *[0.5] * (len(request.ids) - 1)]), ENCODER)
    comparison = EmbeddingComparison(Evaluation.of_text(WINDOWS), tmp_path / "x.npy")
    first, second = comparison.measure([original, other], Silent())
    assert (first["cosine"].value, first["cosine_min"].value, first["retention"].value) == (1.0, 1.0, 1.0)
    assert second["cosine"].value == pytest.approx((2 * 0.9 + 8 * 0.5) / 10)
    assert second["cosine_min"].value == 0.5
    assert [len(request.ids) for request in original.requests] == [8, 2]
    assert {type(request) for request in original.requests} == {ReferenceEmbeddings}
    assert {type(request) for request in other.requests} == {CompareEmbeddings}


def test_opposite_embeddings_retain_nothing(tmp_path):
    workers = [FakeWorker(lambda request: Cosines([-0.5] * len(request.ids)), ENCODER)]
    (measures,) = EmbeddingComparison(Evaluation.of_text(WINDOWS), tmp_path / "x.npy").measure(workers, Silent())
    assert (measures["retention"].value, measures["cosine"].value) == (0.0, -0.5)
