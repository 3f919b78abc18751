"""Compare classifiers without labels: class probabilities against the original's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compress.benchmarks.data.evaluation import Evaluation
from compress.benchmarks.measure.comparison import Comparison
from compress.benchmarks.runtime.engine import Ids
from compress.benchmarks.statistics.estimators import exponential, mean, proportion
from compress.benchmarks.statistics.logits import Doubles, log_softmax
from compress.benchmarks.statistics.measure import Measures
from compress.benchmarks.worker.client import Worker
from compress.benchmarks.worker.image_file import ImageFile
from compress.benchmarks.worker.protocol import Encode


@dataclass(frozen=True)
class ClassScores:
    """KL divergence from the original in nats and agreement in 0…1, of each text or image."""

    kls: Sequence[float]
    agreed: Sequence[float]


class ClassComparison(Comparison[ClassScores]):
    """Comparison of classifiers of text, or of ``images``."""

    def __init__(self, evaluation: Evaluation, images: ImageFile | None) -> None:
        super().__init__(evaluation)
        self._images = images

    def score(self, workers: Sequence[Worker], rows: slice) -> list[ClassScores]:
        """Scores of a batch of texts or images."""
        outputs = [self._logits(worker, rows) for worker in workers]
        mask, multi_label = self._evaluation.mask[rows], workers[0].contender.multi_label
        pairs = [compare_classes(outputs[0], logits, mask, multi_label) for logits in outputs]
        return [ClassScores(kls.tolist(), agreed.tolist()) for kls, agreed in pairs]

    def _logits(self, worker: Worker, rows: slice) -> Doubles:
        ids = self._evaluation.windows[rows]
        if self._images is not None:
            return self._images.classify(worker, ids).outputs
        return worker.send(Encode(ids, self._evaluation.mask[rows], np.zeros_like(ids))).outputs

    def summarize(self, scores: Sequence[ClassScores], original: Sequence[ClassScores]) -> Measures:
        """Divergence, and agreement: a proportion where each text has one class."""
        kls = [value for score in scores for value in score.kls]
        agreed = [value for score in scores for value in score.agreed]
        all_or_nothing = all(value in (0.0, 1.0) for value in agreed)
        return {
            "retention": exponential([-value for value in kls], at_most=1.0),
            "kl": mean(kls),
            "top1": proportion([bool(value) for value in agreed]) if all_or_nothing else mean(agreed),
        }


def compare_classes(reference: Doubles, logits: Doubles, mask: Ids, multi_label: bool) -> tuple[Doubles, Doubles]:
    """KL(original ‖ variant) of every text's classes in nats, and whether both predict the same one.

    ``reference`` and ``logits`` are ``[b, labels]``; or ``[b, s, labels]``, of which the mean over the tokens that the
    mask ``[b, s]`` marks is taken. ``multi_label``: each label is a yes or no of its own, and their mean is taken.
    """
    if multi_label:
        reference, logits = (np.stack([scores, np.zeros_like(scores)], -1) for scores in (reference, logits))
    mine, original = (log_softmax(array, np.float64) for array in (logits, reference))
    kl = np.maximum((np.exp(original) * (original - mine)).sum(-1), 0.0)
    same = (mine.argmax(-1) == original.argmax(-1)).astype(np.float64)
    if multi_label:
        kl, same = kl.mean(-1), same.mean(-1)
    if kl.ndim == 1:
        return kl, same
    weights = mask / mask.sum(-1, keepdims=True)
    return (kl * weights).sum(-1), (same * weights).sum(-1)
