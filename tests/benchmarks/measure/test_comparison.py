"""Outputs of contenders against the original's, of workers whose scores are made up."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from compress.benchmarks.data.evaluation import Evaluation
from compress.benchmarks.data.inputs import EvaluationInputs
from compress.benchmarks.measure import comparison
from compress.benchmarks.measure.comparison import EmbeddingComparison, LogitsComparison
from compress.benchmarks.statistics.interval import interval
from compress.benchmarks.statistics.logits import Cosines, WindowScore
from compress.benchmarks.worker.protocol import (
    CompareEmbeddings,
    CompareLogits,
    Open,
    ReferenceEmbeddings,
    ReferenceLogits,
)
from compress.benchmarks.worker.service import Service
from compress.checkpoint.model import Model
from compress.modeling.kinds import ENCODER
from compress.progress import Silent
from tests.support.models import copy_checkpoint, frame_texts
from tests.support.workers import FakeWorker

WINDOWS = np.arange(40).reshape(10, 4)


def test_perplexity_is_over_the_originals_window_by_window(tmp_path):
    """A window's loss is a tenth of its first token; the other contender loses 0.1 more in each."""
    original = FakeWorker(lambda request: WindowScore.of_original(request.ids[0] / 10))
    other = FakeWorker(lambda request: WindowScore(request.ids[0] / 10 + 0.1, 0.02, 0.75, (0.01, 0.03)))
    first, second = (
        LogitsComparison(Evaluation.of_text(WINDOWS), tmp_path / "x.npy").measure([original, other], Silent()).measures
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
    first, second = comparison.measure([original, other], Silent()).measures
    assert (first["cosine"].value, first["cosine_min"].value, first["retention"].value) == (1.0, 1.0, 1.0)
    assert second["cosine"].value == pytest.approx((2 * 0.9 + 8 * 0.5) / 10)
    assert second["cosine_min"].value == 0.5
    assert [len(request.ids) for request in original.requests] == [8, 2]
    assert {type(request) for request in original.requests} == {ReferenceEmbeddings}
    assert {type(request) for request in other.requests} == {CompareEmbeddings}


def test_opposite_embeddings_retain_nothing(tmp_path):
    workers = [FakeWorker(lambda request: Cosines([-0.5] * len(request.ids)), ENCODER)]
    (measures,) = (
        EmbeddingComparison(Evaluation.of_text(WINDOWS), tmp_path / "x.npy").measure(workers, Silent()).measures
    )
    assert (measures["retention"].value, measures["cosine"].value) == (0.0, -0.5)


def compared(tmp_path, **score):
    """Measures of a variant with such a score in every window, whose original loses 7 nats a token."""
    original = FakeWorker(lambda request: WindowScore.of_original(7.0, 2.0, 8.0))
    other = FakeWorker(lambda request: WindowScore(**score))
    return LogitsComparison(Evaluation.of_text(WINDOWS), tmp_path / "x.npy").measure([original, other], Silent())


def test_a_ruined_variant_retains_little_of_an_original_that_fails_on_the_text(tmp_path):
    """The variant gives the text a higher probability, as everything does."""
    results = compared(tmp_path, nll=6.5, kl=1.23, top1=0.001, kls=(1.23,))
    original, ruined = results.measures
    assert ruined["perplexity_ratio"].value < 1
    assert ruined["retention"].value == pytest.approx(math.exp(-1.23))
    assert interval(ruined["retention"]) == pytest.approx((math.exp(-1.23),) * 2)
    assert original["retention"].value == 1.0
    assert results.doubts == (
        "the text is far from what the original was made for: it finds each token 148.4 times less likely than it "
        "expects to",
    )


def test_what_the_likelihoods_say_counts_where_that_is_less(tmp_path):
    _, worse = compared(tmp_path, nll=7.2, kl=0.1, top1=0.9, kls=(0.1,)).measures
    assert worse["retention"].value == pytest.approx(math.exp(-0.2))


def test_an_original_that_is_worse_than_a_guess_is_doubtful(tmp_path):
    workers = [FakeWorker(lambda request: WindowScore.of_original(9.0, 8.9, math.log(1000)))]
    results = LogitsComparison(Evaluation.of_text(WINDOWS), tmp_path / "x.npy").measure(workers, Silent())
    assert results.doubts == (
        "the original is worse than a guess on this text: its perplexity is 8,103 of 1,000 tokens",
    )
    workers = [FakeWorker(lambda request: WindowScore.of_original(3.0, 2.9, math.log(1000)))]
    assert LogitsComparison(Evaluation.of_text(WINDOWS), tmp_path / "x.npy").measure(workers, Silent()).doubts == ()


def test_embeddings_retain_what_tells_sentences_apart(tmp_path):
    original = FakeWorker(lambda request: Cosines([1.0] * len(request.ids), (1.0,) * len(request.ids), 0.997), ENCODER)
    ruined = FakeWorker(lambda request: Cosines([0.99] * len(request.ids), (0.1,) * len(request.ids), 0.9), ENCODER)
    comparison = EmbeddingComparison(Evaluation.of_text(WINDOWS), tmp_path / "x.npy")
    results = comparison.measure([original, ruined], Silent())
    first, second = results.measures
    assert (first["retention"].value, second["retention"].value) == (1.0, pytest.approx(0.1))
    assert (second["cosine"].value, second["cosine_centered"].value) == (pytest.approx(0.99), pytest.approx(0.1))
    assert results.doubts == (
        "the original's embeddings of these texts are nearly the same: their cosine to their mean is 0.9970",
    )


@pytest.mark.parametrize("template", ["<s> $A </s>", "<s> </s> $A", "$A"])
def test_perplexity_is_that_of_the_words_after_what_begins_every_text(tiny, tmp_path, template):
    """As transformers has it, window by window: what begins every text is read, and not predicted."""
    path = frame_texts(copy_checkpoint(tiny("LlamaForCausalLM"), tmp_path / "model"), template)
    model, file = Model.open(path), tmp_path / "text.txt"
    file.write_text("the quick brown fox jumps over a lazy dog while seven wizards box " * 300)
    evaluation = EvaluationInputs(model, file).arrays
    service = Service()
    service.answer(Open("torch", str(path), model.kind.name, 1))
    (measured,) = (
        LogitsComparison(evaluation, tmp_path / "x.npy").measure([FakeWorker(service.answer)], Silent()).measures
    )
    module, words = AutoModelForCausalLM.from_pretrained(path), model.tokenizer()
    ids = torch.tensor(words(file.read_text(), add_special_tokens=False)["input_ids"])
    prefix = {"<s> $A </s>": [0], "<s> </s> $A": [0, 1], "$A": []}[template]
    body = 128 - len(prefix)  # the model's longest input
    losses = []
    for start in range(0, 8 * ((len(ids) - body) // 8), (len(ids) - body) // 8):
        row = torch.tensor([prefix + ids[start : start + body].tolist()])
        labels = torch.where(torch.arange(128)[None] < len(prefix), -100, row)
        with torch.no_grad():
            losses.append(module(row, labels=labels).loss.item())
    assert measured["perplexity"].value == pytest.approx(math.exp(np.mean(losses)), rel=1e-5)
    assert measured["perplexity"].windows != ()


def read_more(tmp_path, losses, monkeypatch=None, further=28):
    """Results on four windows and others besides, of a variant that loses so much in each in turn."""
    windows = np.arange(4 * (4 + further)).reshape(-1, 4)
    original = FakeWorker(lambda request: WindowScore.of_original(2.0))
    other = FakeWorker(lambda request: WindowScore(2 + losses[request.ids[0] // 4 % len(losses)], 0.01, 0.9, (0.01,)))
    evaluation = Evaluation.of_text(windows[:4], further=windows[4:])
    results = LogitsComparison(evaluation, tmp_path / "x.npy").measure([original, other], Silent())
    assert [request.ids[0] // 4 for request in other.requests] == list(range(results.windows))  # in order, each once
    assert len(original.requests) == results.windows
    return results


def test_windows_are_read_until_the_ratio_is_known(tmp_path):
    known = read_more(tmp_path, [0.1, 0.101])
    assert (known.windows, known.notes) == (4, ())
    scattered = read_more(tmp_path, [0.09, 0.11])  # ±0.58 % after four, ±0.38 % after eight
    assert scattered.windows == 8
    assert scattered.notes == ("accuracy on 8 windows, until every ratio was known to ±0.5 %",)
    assert len(scattered.measures[1]["perplexity_ratio"].windows) == 8
    wild = read_more(tmp_path, [-0.1, 0.2, 0.0], further=28)
    assert (wild.windows, wild.notes) == (32, ("accuracy on 32 windows, as many as there is time or text for",))
    assert read_more(tmp_path, [-0.1, 0.2], further=3).windows == 7


def test_windows_are_read_for_two_minutes_at_most(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "_SECONDS", 0.0)
    stopped = read_more(tmp_path, [-0.1, 0.2])
    assert (stopped.windows, stopped.notes) == (4, ("accuracy on 4 windows, as many as there is time or text for",))


@pytest.mark.parametrize(("seconds", "windows"), [(9, 14), (40, 4)])
def test_two_minutes_are_used_to_their_end(tmp_path, monkeypatch, seconds, windows):
    """So many seconds a window, as on a busy machine: of a doubling is read what fits, of the first windows all."""
    now, score = [0.0], LogitsComparison.score

    def slow_score(self, workers, rows):
        now[0] += seconds
        return score(self, workers, rows)

    monkeypatch.setattr(comparison, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(LogitsComparison, "score", slow_score)
    stopped = read_more(tmp_path, [-0.1, 0.2])
    assert (stopped.windows, len(stopped.measures[1]["kl"].windows)) == (windows, windows)
    assert stopped.notes == (f"accuracy on {windows} windows, as many as there is time or text for",)


def test_no_more_windows_are_read_for_what_is_ruined(tmp_path):
    assert read_more(tmp_path, [2.0, 4.0]).windows == 4


def test_embeddings_are_read_until_their_retention_is_known(tmp_path):
    original = FakeWorker(lambda request: Cosines([1.0] * len(request.ids), (1.0,) * len(request.ids), 0.5), ENCODER)
    other = FakeWorker(lambda request: Cosines((request.ids[:, 0] % 8 / 80 + 0.8).tolist(), (), 0.5), ENCODER)
    evaluation = Evaluation.of_text(WINDOWS, further=np.arange(400).reshape(100, 4))
    results = EmbeddingComparison(evaluation, tmp_path / "x.npy").measure([original, other], Silent())
    assert results.windows == 40
    assert [len(request.ids) for request in other.requests] == [8, 2, 8, 2, 8, 8, 4]
