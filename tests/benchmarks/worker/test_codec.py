"""Dataclasses through JSON and back."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from compress.benchmarks.worker.codec import from_plain, to_plain
from compress.errors import RunError


@dataclass(frozen=True)
class Inner:
    share: float
    name: str = "x"


@dataclass(frozen=True)
class Outer:
    inner: Inner | None
    pairs: tuple[float, ...]
    rows: list[list[int]]
    sizes: dict[str, int]


@dataclass(frozen=True)
class Arrays:
    ids: NDArray[np.int64]
    outputs: NDArray[np.float64]


def through_json(message):
    return from_plain(type(message), json.loads(json.dumps(to_plain(message))), "message")


@pytest.mark.parametrize("inner", [None, Inner(0.1 + 0.2, "y")])
def test_nested_values_come_back(inner):
    message = Outer(inner, (1.0, 1e-300), [[1], [2, 3], []], {"a": 1})
    assert through_json(message) == message


def test_arrays_come_back_in_their_types():
    message = through_json(Arrays(np.arange(6).reshape(2, 3), np.array([0.1, 2.0])))
    assert (message.ids.dtype, message.outputs.dtype) == (np.int64, np.float64)
    assert message.ids.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert message.outputs.tolist() == [0.1, 2.0]
    assert through_json(Arrays(np.array([1]), np.empty((0,)))).outputs.shape == (0,)


def test_whole_numbers_are_floats_too_and_defaults_stand_in():
    inner = from_plain(Inner, {"share": 1}, "message")
    assert (inner, type(inner.share)) == (Inner(1.0, "x"), float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"share": "1"}, "the answer Inner: share can't be '1'"),
        ({"share": True}, "the answer Inner: share can't be 'True'"),
        ({"name": "y"}, "the answer Inner lacks share"),
        ({"share": 1.0, "size": 2}, "the answer Inner has no field size"),
    ],
)
def test_what_does_not_fit_is_told(values, message):
    with pytest.raises(RunError, match=message):
        from_plain(Inner, values, "answer")
