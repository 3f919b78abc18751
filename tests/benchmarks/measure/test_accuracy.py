"""Each kind of model is compared in its own way, and every phase has its time."""

import numpy as np
import pytest

from compress.benchmarks.data.evaluation import Evaluation
from compress.benchmarks.measure import accuracy
from compress.benchmarks.measure.accuracy import measure_accuracy
from compress.benchmarks.measure.stopwatch import Stopwatch
from compress.benchmarks.statistics.logits import Cosines, WindowScore
from compress.benchmarks.statistics.measure import Measure
from compress.benchmarks.worker.protocol import Encoded
from compress.modeling.kinds import CLASSIFIER, DECODER, ENCODER
from compress.progress import Silent
from tests.support.workers import FakeWorker

ANSWERS = {
    DECODER: lambda request: WindowScore.of_original(2.0),
    ENCODER: lambda request: Cosines([1.0] * len(request.ids)),
    CLASSIFIER: lambda request: Encoded(np.ones((len(request.ids), 3))),
}
METRICS = {
    DECODER: {"retention", "perplexity", "perplexity_ratio", "kl", "kl_p99", "top1"},
    ENCODER: {"retention", "cosine", "cosine_min"},
    CLASSIFIER: {"retention", "kl", "top1"},
}
TEXT = np.arange(12).reshape(3, 4)


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_kind_has_its_metrics(kind):
    clock = Stopwatch()
    workers = [FakeWorker(ANSWERS[kind], kind) for _ in range(2)]
    first, second = measure_accuracy(workers, Evaluation.of_text(TEXT), Silent(), clock=clock).measures
    assert first == second
    assert first.keys() == METRICS[kind]
    assert first["retention"].value == 1.0
    assert clock.seconds.keys() == {"accuracy"}


def test_labels_are_measured_besides(monkeypatch):
    clock, labels = Stopwatch(), object()
    requests = []

    def measure(workers, labeled, seed, progress):
        requests.append((labeled, seed))
        return [{"accuracy": Measure(value=0.5)} for _ in workers]

    monkeypatch.setattr(accuracy, "measure_labeled", measure)
    (measures,) = measure_accuracy(
        [FakeWorker(ANSWERS[CLASSIFIER], CLASSIFIER)],
        Evaluation.of_text(TEXT, labeled=labels),
        Silent(),
        seed=3,
        clock=clock,
    ).measures
    assert measures.keys() == METRICS[CLASSIFIER] | {"accuracy"}
    assert requests == [(labels, 3)]
    assert list(clock.seconds) == ["accuracy", "labels"]
