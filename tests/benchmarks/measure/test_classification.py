"""Classifiers, from their logits to a scorecard, against a direct computation in torch."""

import hashlib
import json
from contextlib import ExitStack

import numpy as np
import pytest
import torch
from torch.nn import functional

from compress.benchmarks.data.evaluation import Evaluation
from compress.benchmarks.data.labels import read_labelled
from compress.benchmarks.measure.accuracy import measure_accuracy
from compress.benchmarks.measure.classification import compare_classes
from compress.benchmarks.results.metrics import metrics
from compress.benchmarks.results.scorecard import Settings
from compress.benchmarks.score import score_contenders
from compress.benchmarks.statistics.correlation import rank_correlation, spearman
from compress.benchmarks.statistics.estimators import proportion
from compress.benchmarks.statistics.interval import interval
from compress.benchmarks.worker.client import Worker
from compress.checkpoint.model import Model
from compress.export.targets.base import find_target
from compress.modeling.kinds import CLASSIFIER
from compress.progress import Silent

QUICK = Settings(rounds=2, prompt=16, runs=2, batch=2, warmup=1, pause=0.0, threads=1)


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(0, 3, (2, 4, 6, 5))


def test_texts_by_their_classes(logits):
    reference, mine = logits[0, :, 0], logits[1, :, 0]
    kl, same = compare_classes(reference, mine, np.ones((4, 6), np.int64), multi_label=False)
    p, q = (torch.from_numpy(each).log_softmax(-1) for each in (reference, mine))
    assert kl == pytest.approx(functional.kl_div(q, p, log_target=True, reduction="none").sum(-1).numpy(), rel=1e-12)
    assert same.tolist() == (p.argmax(-1) == q.argmax(-1)).double().tolist()


def test_tokens_count_where_the_mask_marks_them(logits):
    mask = np.ones((4, 6), np.int64)
    mask[1, 2:] = 0
    kl, same = compare_classes(*logits, mask, multi_label=False)
    each, _ = compare_classes(logits[0, 1, :2], logits[1, 1, :2], mask[:2], multi_label=False)
    assert kl[1] == pytest.approx(each.mean(), rel=1e-12)
    assert same[1] in (0, 0.5, 1)
    assert kl.shape == same.shape == (4,)


def test_labels_of_their_own_are_each_a_yes_or_no(logits):
    reference, mine = logits[0, :, 0], logits[1, :, 0]
    kl, same = compare_classes(reference, mine, np.ones((4, 6), np.int64), multi_label=True)
    p, q = (1 / (1 + np.exp(-each)) for each in (reference, mine))
    expected = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    assert kl == pytest.approx(expected.mean(-1), rel=1e-9)
    assert same == pytest.approx(((reference > 0) == (mine > 0)).mean(-1))
    one, agreed = compare_classes(reference[:, :1], mine[:, :1], np.ones((4, 6), np.int64), multi_label=True)
    assert one == pytest.approx(expected[:, 0], rel=1e-9)
    assert agreed.tolist() == ((reference > 0) == (mine > 0))[:, 0].astype(float).tolist()


def test_a_share_knows_that_all_of_a_few_is_not_all():
    """Wilson's bounds of 10 of 20 and of 20 of 20, as published tables have them."""
    half, whole = proportion([True] * 10 + [False] * 10), proportion([True] * 20)
    assert half.value == 0.5
    assert interval(half) == (pytest.approx(0.2993, abs=1e-4), pytest.approx(0.7007, abs=1e-4))
    assert interval(whole) == (pytest.approx(0.8389, abs=1e-4), 1.0)


def test_rank_correlation():
    assert spearman(np.array([1.0, 5.0, 9.0]), np.array([0.1, 0.2, 7.0])) == pytest.approx(1.0)
    assert spearman(np.array([3.0, 2.0, 1.0]), np.array([0.1, 0.2, 7.0])) == pytest.approx(-1.0)
    # ranks 1, 2.5, 2.5, 4 against 1, 3, 2, 4
    assert spearman(np.array([1.0, 2.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0, 4.0])) == pytest.approx(4.5 / 22.5**0.5)
    assert spearman(np.ones(4), np.arange(4.0)) == 0.0


def test_a_correlations_interval_is_as_wide_as_theory_has_it():
    """Bonett & Wright (2000): of Fisher's z, sqrt((1 + ρ²/2) / (n - 3))."""
    noise = np.random.default_rng(0).normal(size=(12, 2, 80))
    pairs = [(one, 0.6 * one + 0.8 * other) for one, other in noise]
    found = [rank_correlation(*pair, seed=1) for pair in pairs]
    truth = 6 / np.pi * np.arcsin(0.3)
    expected = (1 - truth**2) * np.sqrt((1 + truth**2 / 2) / 77)
    assert np.mean([each.spread for each in found]) == pytest.approx(expected, rel=0.15)
    assert np.mean([low <= truth <= high for low, high in map(interval, found)]) >= 0.75
    assert rank_correlation(*pairs[0], seed=1) == found[0]


@pytest.fixture(scope="module")
def pair_of(tiny, tmp_path_factory, of_artifact):
    """``pair_of(class)``: a tiny model, and its float export twice."""

    def make(name, **options):
        model, out = Model.open(str(tiny(name, **options))), tmp_path_factory.mktemp("onnx")
        exported = find_target("ort-cpu").export(model, (), out, Silent())
        return model, [
            of_artifact(exported, "original", "original"),
            of_artifact(exported, "onnx", "float"),
        ]

    return make


def test_a_classifier_is_scored_on_its_runtime(pair_of, tmp_path, tokens):
    model, contenders = pair_of("BertForSequenceClassification", num_labels=3)
    words = ["the fox", "a lazy dog", "seven wizards", "box daily with jugs", "quick", "of liquor while"]
    path = tmp_path / "labels.jsonl"
    rows = [{"text": word, "text2": "a dog", "label": i % 3} for i, word in enumerate(words * 2)]
    path.write_text("\n".join(map(json.dumps, rows)))
    labelled = read_labelled(path, model)
    card = score_contenders(contenders, Evaluation.of_text(tokens, labelled=labelled), QUICK)
    module = model.torch_module()
    with torch.inference_mode():
        read = [model.tokenizer()(row["text"], row["text2"], return_tensors="pt") for row in rows]
        right = [int(module(**each).logits.argmax()) == row["label"] for each, row in zip(read, rows, strict=True)]
    digest = hashlib.sha256(tokens.tobytes() + np.ones_like(tokens).tobytes() + labelled.tokens().tobytes())
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


def test_words_are_scored_where_they_begin(pair_of, tmp_path, tokens):
    model, contenders = pair_of("DistilBertForTokenClassification", dim=64, hidden_dim=128, n_heads=4, n_layers=2)
    path = tmp_path / "words.jsonl"
    path.write_text("\n".join(json.dumps({"tokens": ["fox"] * n, "labels": [n % 2] * n}) for n in range(1, 6)))
    labelled = read_labelled(path, model)
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(contender, 1)) for contender in contenders]
        found = measure_accuracy(workers, Evaluation.of_text(tokens, labelled=labelled), Silent())
    with torch.inference_mode():
        hits = total = 0
        for (text,), labels in zip(labelled.texts, labelled.labels, strict=True):
            said = model.torch_module()(input_ids=torch.tensor([text.ids])).logits[0].argmax(-1).tolist()
            hits += sum(a == b for a, b in zip(said, labels, strict=True))
            total += sum(label >= 0 for label in labels)
    assert total == 15
    for measures in found:
        assert measures["accuracy"].value == pytest.approx(hits / total)
        assert measures["top1"].value == pytest.approx(1.0)


def test_embeddings_are_compared_with_scores(pair_of, tmp_path, tokens):
    model, contenders = pair_of("BertModel")
    path = tmp_path / "pairs.tsv"
    texts = ["the fox", "a lazy dog and a fox", "seven", "box daily", "quick", "of liquor while"]
    path.write_text("text\ttext2\tscore\n" + "".join(f"{text}\ta fox\t{i}\n" for i, text in enumerate(texts)))
    labelled = read_labelled(path, model)
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(contender, 1)) for contender in contenders]
        first, second = measure_accuracy(workers, Evaluation.of_text(tokens, labelled=labelled), Silent())
    with torch.inference_mode():
        embed = lambda text: model.torch_module()(input_ids=torch.tensor([text.ids]))[0][0].mean(0)  # noqa: E731
        alike = [float(functional.cosine_similarity(*map(embed, texts), dim=0)) for texts in labelled.texts]
    expected = spearman(np.array(alike), np.array([score for (score,) in labelled.labels]))
    assert first["spearman"].value == second["spearman"].value == pytest.approx(expected)
    assert first["spearman"].bounds[0] <= expected <= first["spearman"].bounds[1]
