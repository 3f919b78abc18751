"""Accuracy on labeled text, from a worker's outputs to its figures."""

import json
from contextlib import ExitStack
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from compress.benchmarks.data.evaluation import Evaluation
from compress.benchmarks.data.labels import read_labeled
from compress.benchmarks.measure.accuracy import measure_accuracy
from compress.benchmarks.measure.labels import _Hits
from compress.benchmarks.statistics.correlation import spearman
from compress.benchmarks.statistics.estimators import proportion, proportion_ratio
from compress.benchmarks.statistics.interval import interval
from compress.benchmarks.worker.client import Worker
from compress.progress import Silent


def test_words_are_scored_where_they_begin(pair_of, tmp_path, tokens):
    model, contenders = pair_of("DistilBertForTokenClassification", dim=64, hidden_dim=128, n_heads=4, n_layers=2)
    path = tmp_path / "words.jsonl"
    path.write_text("\n".join(json.dumps({"tokens": ["fox"] * n, "labels": [n % 2] * n}) for n in range(1, 6)))
    labeled = read_labeled(path, model)
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(contender, 1)) for contender in contenders]
        results = measure_accuracy(workers, Evaluation.of_text(tokens, labeled=labeled), Silent()).measures
    with torch.inference_mode():
        hits = total = 0
        for (text,), labels in zip(labeled.texts, labeled.labels, strict=True):
            predicted = model.torch_module()(input_ids=torch.tensor([text.ids])).logits[0].argmax(-1).tolist()
            hits += sum(a == b for a, b in zip(predicted, labels, strict=True))
            total += sum(label >= 0 for label in labels)
    assert total == 15
    for measures in results:
        assert measures["accuracy"].value == pytest.approx(hits / total)
        assert measures["top1"].value == pytest.approx(1.0)


def test_embeddings_are_compared_with_scores(pair_of, tmp_path, tokens):
    model, contenders = pair_of("BertModel")
    path = tmp_path / "pairs.tsv"
    texts = ["the fox", "a lazy dog and a fox", "seven", "box daily", "quick", "of liquor while"]
    path.write_text("text\ttext2\tscore\n" + "".join(f"{text}\ta fox\t{i}\n" for i, text in enumerate(texts)))
    labeled = read_labeled(path, model)
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(contender, 1)) for contender in contenders]
        first, second = measure_accuracy(workers, Evaluation.of_text(tokens, labeled=labeled), Silent()).measures
    with torch.inference_mode():
        embed = lambda text: model.torch_module()(input_ids=torch.tensor([text.ids]))[0][0].mean(0)  # noqa: E731
        alike = [float(functional.cosine_similarity(*map(embed, texts), dim=0)) for texts in labeled.texts]
    expected = spearman(np.array(alike), np.array([score for (score,) in labeled.labels]))
    assert first["spearman"].value == second["spearman"].value == pytest.approx(expected)
    assert first["spearman"].bounds[0] <= expected <= first["spearman"].bounds[1]


def test_shares_of_few_and_of_perfect_texts_have_an_interval():
    """Logits whose class is the label, or another one: of texts, and of words."""
    right, wrong = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    texts = SimpleNamespace(labels=((0.0,),) * 4)
    perfect, three = (_Hits.of_outputs(rows, texts) for rows in ([right] * 4, [right] * 3 + [wrong]))
    assert perfect.accuracy().value == 1
    assert perfect.accuracy().bounds == proportion([True] * 4).bounds
    assert perfect.ratio(perfect).bounds == proportion_ratio([True] * 4, [True] * 4).bounds
    assert three.ratio(perfect).value == 0.75
    assert interval(three.ratio(perfect))[1] > 1  # one of four says little
    words = SimpleNamespace(labels=((0.0, 0.0), (0.0, 0.0)))
    both = _Hits.of_outputs([np.concatenate([right, right])] * 2, words)
    assert both.accuracy().bounds == proportion([True] * 2).bounds
    assert both.ratio(both).bounds == proportion_ratio([True] * 2, [True] * 2).bounds
    half = _Hits.of_outputs([np.concatenate([right, wrong]), np.concatenate([right, right])], words)
    assert half.accuracy().value == 0.75
    assert half.ratio(both).value == 0.75
    none = _Hits.of_outputs([wrong] * 4, texts)
    assert perfect.ratio(none) is None
    assert none.accuracy().value == 0
