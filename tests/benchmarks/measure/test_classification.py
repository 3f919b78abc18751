"""Classifiers, from their logits to a scorecard, against a direct computation in torch."""

import hashlib
import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from compress.benchmarks.data.evaluation import Evaluation
from compress.benchmarks.data.labels import read_labeled
from compress.benchmarks.measure.classification import ClassComparison, compare_classes, predictions
from compress.benchmarks.results.metrics import metrics
from compress.benchmarks.results.scorecard import Settings
from compress.benchmarks.score import score_contenders
from compress.benchmarks.worker.protocol import Encoded
from compress.modeling.kinds import CLASSIFIER
from compress.progress import Silent
from tests.support.workers import FakeWorker

QUICK = Settings(launches=2, patience=0.0, rounds=2, prompt=16, runs=2, batch=2, warmup=1, threads=1)


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(0, 3, (2, 4, 6, 5))


def test_texts_by_their_classes(logits):
    reference, mine = logits[0, :, 0], logits[1, :, 0]
    kl, same = compare_classes(reference, mine, np.ones((4, 6), np.int64), multi_label=False)
    p, q = (torch.from_numpy(rows).log_softmax(-1) for rows in (reference, mine))
    assert kl == pytest.approx(functional.kl_div(q, p, log_target=True, reduction="none").sum(-1).numpy(), rel=1e-12)
    assert same.tolist() == (p.argmax(-1) == q.argmax(-1)).double().tolist()


def test_tokens_count_where_the_mask_marks_them(logits):
    mask = np.ones((4, 6), np.int64)
    mask[1, 2:] = 0
    kl, same = compare_classes(*logits, mask, multi_label=False)
    kls, _ = compare_classes(logits[0, 1, :2], logits[1, 1, :2], mask[:2], multi_label=False)
    assert kl[1] == pytest.approx(kls.mean(), rel=1e-12)
    assert same[1] in (0, 0.5, 1)
    assert kl.shape == same.shape == (4,)


def test_labels_of_their_own_are_each_a_yes_or_no(logits):
    reference, mine = logits[0, :, 0], logits[1, :, 0]
    kl, same = compare_classes(reference, mine, np.ones((4, 6), np.int64), multi_label=True)
    p, q = (1 / (1 + np.exp(-rows)) for rows in (reference, mine))
    expected = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    assert kl == pytest.approx(expected.mean(-1), rel=1e-9)
    assert same == pytest.approx(((reference > 0) == (mine > 0)).mean(-1))
    kls, agreed = compare_classes(reference[:, :1], mine[:, :1], np.ones((4, 6), np.int64), multi_label=True)
    assert kls == pytest.approx(expected[:, 0], rel=1e-9)
    assert agreed.tolist() == ((reference > 0) == (mine > 0))[:, 0].astype(float).tolist()


def test_a_classifier_is_scored_on_its_runtime(pair_of, tmp_path, tokens):
    model, contenders = pair_of("BertForSequenceClassification", num_labels=3)
    words = ["the fox", "a lazy dog", "seven wizards", "box daily with jugs", "quick", "of liquor while"]
    path = tmp_path / "labels.jsonl"
    rows = [{"text": word, "text2": "a dog", "label": i % 3} for i, word in enumerate(words * 2)]
    path.write_text("\n".join(map(json.dumps, rows)))
    labeled = read_labeled(path, model)
    card = score_contenders(contenders, Evaluation.of_text(tokens, labeled=labeled), QUICK)
    module = model.torch_module()
    with torch.inference_mode():
        read = [model.tokenizer()(row["text"], row["text2"], return_tensors="pt") for row in rows]
        right = [int(module(**batch).logits.argmax()) == row["label"] for batch, row in zip(read, rows, strict=True)]
    digest = hashlib.sha256(tokens.tobytes() + np.ones_like(tokens).tobytes() + labeled.tokens().tobytes())
    for row in card.rows:
        keys = {metric.key for metric in metrics(CLASSIFIER) if not metric.device} - {"spearman", "cost"}
        assert set(row.measures) == keys
        assert row.measures["accuracy"].value == np.mean(right)
        assert row.measures["accuracy_ratio"].value == 1.0
        assert row.measures["top1"].value == 1.0
        assert row.measures["kl"].value == pytest.approx(0.0, abs=1e-9)
        assert row.measures["retention"].value == pytest.approx(1.0, abs=1e-9)
    assert 0 < np.mean(right) < 1
    assert card.text_sha256 == digest.hexdigest()


@pytest.mark.parametrize(
    ("logits", "doubt"),
    [
        (np.eye(3)[[0, 1, 2] * 4] * 4, None),
        (
            np.eye(3)[[1] * 12] * 9,
            "the original predicts the same class for all of these texts, so that a variant which",
        ),
        (
            np.eye(3)[[0, 1, 2] * 4] * 0.01,
            "the original is undecided on these texts: the entropy of its classes is 100.0%",
        ),
        (np.ones((12, 1)), None),
    ],
)
def test_an_original_that_tells_nothing_apart_is_doubtful(logits, doubt):
    workers = [FakeWorker(lambda request: Encoded(logits[request.ids[:, 0]]), CLASSIFIER) for _ in range(2)]
    text = Evaluation.of_text(np.arange(12)[:, None].repeat(4, 1))
    doubts = ClassComparison(text, None).measure(workers, Silent()).doubts
    assert [line[: len(doubt or "")] for line in doubts] == ([doubt] if doubt else [])


def test_predictions_of_tokens_are_those_that_count():
    logits = np.zeros((2, 3, 4))
    logits[0, :, 2] = logits[1, 0, 1] = 50.0
    predicted, indecision = predictions(logits, np.array([[1, 1, 1], [1, 0, 0]]), multi_label=False)
    assert (predicted, indecision) == ([(2,), (2,), (2,), (1,)], pytest.approx(0.0, abs=1e-9))
    predicted, indecision = predictions(np.array([[1.0, -1.0], [0.0, 9.0]]), np.ones((2, 1)), multi_label=True)
    assert predicted == [(0, 1), (0, 0)]
