"""Compare classifiers without labels: class probabilities against the original's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

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

_FEWEST = 8
"""predictions by which a single class may be chance"""
_UNDECIDED = 0.98
"""share of a uniform guess's entropy from which classes are as good as drawn"""


@dataclass(frozen=True)
class ClassScores:
    """KL divergence from the original in nats and agreement in 0…1, of each text or image.

    ``predicted`` are the classes of each text, image or token, a tuple of yes and no where each label is one alone;
    ``indecision`` is the mean entropy of their probabilities over that of a uniform guess.
    """

    kls: Sequence[float]
    agreed: Sequence[float]
    predicted: Sequence[tuple[int, ...]] = ()
    indecision: float = 0.0


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
        predicted, indecision = predictions(outputs[0], mask, multi_label)
        return [ClassScores(kls.tolist(), agreed.tolist(), predicted, indecision) for kls, agreed in pairs]

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

    def doubts(self, original: Sequence[ClassScores]) -> list[str]:
        """Inputs whose classes the original doesn't tell apart."""
        predicted = [classes for score in original for classes in score.predicted]
        things = "images" if self._images is not None else "texts"
        if (indecision := fmean(score.indecision for score in original)) > _UNDECIDED:
            return [
                f"the original is undecided on these {things}: the entropy of its classes is {indecision:.1%} of a "
                "guess's, so that a ruined variant looks like it"
            ]
        if len(predicted) >= _FEWEST and len(set(predicted)) == 1:
            return [
                f"the original predicts the same class for all of these {things}, so that a variant which always does "
                "looks as good"
            ]
        return []


def compare_classes(reference: Doubles, logits: Doubles, mask: Ids, multi_label: bool) -> tuple[Doubles, Doubles]:
    """KL(original ‖ variant) of every text's classes in nats, and whether both predict the same one.

    ``reference`` and ``logits`` are ``[b, labels]``; or ``[b, s, labels]``, of which the mean over the tokens that the
    mask ``[b, s]`` marks is taken. ``multi_label``: each label is a yes or no of its own, and their mean is taken.
    """
    original, mine = (_log_probabilities(scores, multi_label) for scores in (reference, logits))
    kl = np.maximum((np.exp(original) * (original - mine)).sum(-1), 0.0)
    same = (mine.argmax(-1) == original.argmax(-1)).astype(np.float64)
    if multi_label:
        kl, same = kl.mean(-1), same.mean(-1)
    if kl.ndim == 1:
        return kl, same
    weights = mask / mask.sum(-1, keepdims=True)
    return (kl * weights).sum(-1), (same * weights).sum(-1)


def predictions(logits: Doubles, mask: Ids, multi_label: bool) -> tuple[list[tuple[int, ...]], float]:
    """Classes of every text, or token that counts, and their entropy over a uniform guess's; as `compare_classes`.

    None of one logit alone, which may be a score and no class.
    """
    if logits.shape[-1] == 1:
        return [], 0.0
    logs = _log_probabilities(logits, multi_label)
    if logits.ndim == 3:
        logs = logs[mask.astype(bool)]
    entropies = -(np.exp(logs) * logs).sum(-1) / math.log(max(logs.shape[-1], 2))
    classes = logs.argmax(-1).reshape(len(logs), -1)
    return [tuple(row) for row in classes.tolist()], float(entropies.mean())


def _log_probabilities(logits: Doubles, multi_label: bool) -> Doubles:
    """Logarithms of the classes' probabilities, over the last axis; of yes and no, where each label is one alone."""
    scores = np.stack([logits, np.zeros_like(logits)], -1) if multi_label else logits
    return log_softmax(scores, np.float64)
