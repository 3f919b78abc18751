"""What a classifier lost without labels: its classes' probabilities against the original's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.benchmarks.runtime.engine import Ids
from compress.benchmarks.statistics.estimators import exponential, mean, proportion
from compress.benchmarks.statistics.logits import log_softmax
from compress.benchmarks.statistics.measure import Measure
from compress.benchmarks.worker.client import Worker
from compress.benchmarks.worker.image_file import Images

Floats = NDArray[np.float64]


def compare_workers(workers: Sequence[Worker], ids: Ids, mask: Ids) -> list[dict[str, Any]]:
    """Every contender's divergences and agreements (`compare_classes`) on a batch; the first is the original."""
    request = {"ids": ids.tolist(), "mask": mask.tolist(), "kinds": np.zeros_like(ids).tolist()}
    said = [np.array(worker.ask("encode", **request)["outputs"]) for worker in workers]
    return _compared(said, mask, workers[0].contender.separate)


def compare_images(workers: Sequence[Worker], images: Images, ids: Ids) -> list[dict[str, Any]]:
    """The same on some images."""
    said = [np.array(images.ask(worker, ids)["outputs"]) for worker in workers]
    return _compared(said, np.ones_like(ids), workers[0].contender.separate)


def _compared(said: Sequence[Floats], mask: Ids, separate: bool) -> list[dict[str, Any]]:
    found = []
    for logits in said:
        kls, agreed = compare_classes(said[0], logits, mask, separate)
        found.append({"kls": kls.tolist(), "agreed": agreed.tolist()})
    return found


def compare_classes(reference: Floats, logits: Floats, mask: Ids, separate: bool) -> tuple[Floats, Floats]:
    """For every text KL(original ‖ variant) of its classes in nats, and whether both predict the same one.

    ``reference`` and ``logits`` are ``[b, labels]``; or ``[b, s, labels]``, of which the mean over the tokens that the
    mask ``[b, s]`` marks is taken. ``separate``: each label is a yes or no of its own, and their mean is taken.
    """
    if separate:
        reference, logits = (np.stack([each, np.zeros_like(each)], -1) for each in (reference, logits))
    mine, original = log_softmax(logits), log_softmax(reference)
    kl = np.maximum((np.exp(original) * (original - mine)).sum(-1), 0.0)
    same = (mine.argmax(-1) == original.argmax(-1)).astype(np.float64)
    if separate:
        kl, same = kl.mean(-1), same.mean(-1)
    if kl.ndim == 1:
        return kl, same
    seen = mask / mask.sum(-1, keepdims=True)
    return (kl * seen).sum(-1), (same * seen).sum(-1)


def class_measures(scores: list[dict[str, Any]], original: list[dict[str, Any]]) -> dict[str, Measure]:
    """The batches' figures together."""
    kls = [value for score in scores for value in score["kls"]]
    agreed = [value for score in scores for value in score["agreed"]]
    whole = all(each in (0.0, 1.0) for each in agreed)
    return {
        "retention": exponential([-each for each in kls], at_most=1.0),
        "kl": mean(kls),
        "top1": proportion([bool(each) for each in agreed]) if whole else mean(agreed),
    }
