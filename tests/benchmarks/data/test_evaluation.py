"""What accuracy is measured on, and its digest."""

from types import SimpleNamespace

import numpy as np
import pytest

from compress.benchmarks.data.evaluation import Evaluation
from compress.errors import UsageError

IDS = np.arange(6).reshape(2, 3)


def test_tokens_are_those_that_count():
    assert Evaluation.of_text(IDS).tokens.tolist() == [0, 1, 2, 3, 4, 5]
    assert Evaluation.of_text(IDS, [[1, 1, 0], [1, 0, 0]]).tokens.tolist() == [0, 1, 3]


def test_an_image_is_a_window_of_its_number():
    images = Evaluation.of_images(np.zeros((3, 1, 2, 2)))
    images.check()
    assert images.windows.tolist() == [[0], [1], [2]]
    assert images.pixels.dtype == np.float32


@pytest.mark.parametrize(
    "evaluation",
    [
        Evaluation.of_text(IDS[:0]),
        Evaluation.of_text(IDS[:, :1]),
        Evaluation.of_text(IDS, IDS[:1]),
        Evaluation.of_text(IDS[0]),
        Evaluation.of_images(np.zeros((0, 1, 2, 2))),
    ],
)
def test_nothing_to_measure_on_is_refused(evaluation):
    with pytest.raises(UsageError, match="evaluation needs windows of at least two tokens, not an array of shape"):
        evaluation.check()


def test_a_digest_knows_every_part():
    labeled = SimpleNamespace(tokens=lambda: np.arange(3))
    tasks = SimpleNamespace(digest=lambda: b"documents")
    mask = np.array([[1, 1, 1], [1, 1, 0]])
    every = [
        Evaluation.of_text(IDS),
        Evaluation.of_text(IDS + 1),
        Evaluation.of_text(IDS, mask),
        Evaluation.of_text(IDS, labeled=labeled),
        Evaluation.of_text(IDS, tasks=tasks),
        Evaluation.of_images(np.zeros((2, 1, 2, 2))),
        Evaluation.of_images(np.ones((2, 1, 2, 2))),
    ]
    assert len({evaluation.digest() for evaluation in every}) == len(every)
    assert every[0].digest() == Evaluation.of_text(IDS.copy(), np.ones_like(IDS)).digest()


def test_an_evaluation_is_extended_by_as_many_windows_again():
    ids = np.arange(21).reshape(7, 3)
    first = Evaluation.of_text(ids[:2], further=ids[2:])
    second, third = first.extended(), first.extended().extended()
    assert [evaluation.windows.tolist() for evaluation in (second, third)] == [ids[:4].tolist(), ids.tolist()]
    assert (second.mask.shape, third.mask.shape, third.further) == ((4, 3), (7, 3), None)
    assert third.extended() is third
    assert first.digest() != Evaluation.of_text(ids[:2]).digest()
