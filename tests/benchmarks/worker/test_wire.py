"""Requests and answers come through a line as they were; what is malformed is told in a line."""

import re
from dataclasses import fields

import numpy as np
import pytest

from compress.benchmarks.runtime.decoding import Sampling
from compress.benchmarks.statistics.logits import WindowScore
from compress.benchmarks.worker.protocol import (
    CompareLogits,
    Decode,
    Encode,
    Encoded,
    Generate,
    LogLikelihoods,
    Memory,
    MemoryUse,
    Opened,
)
from compress.benchmarks.worker.wire import Failure, read_reply, read_request, write_reply, write_request
from compress.errors import RunError

IDS = np.arange(6, dtype=np.int64).reshape(2, 3)


def same(first, second):
    """Two messages, whose arrays dataclasses don't compare."""
    pairs = [(getattr(first, field.name), getattr(second, field.name)) for field in fields(first)]
    return type(first) is type(second) and all(
        np.array_equal(a, b) if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) else a == b for a, b in pairs
    )


@pytest.mark.parametrize(
    "request_",
    [
        Generate(IDS[0], 3),
        Decode(IDS, 3, sampling=Sampling(top_k=3, temperature=0.5), seed=7),
        Decode(IDS[:1], 3, beams=4),
        Encode(IDS, np.ones_like(IDS), np.zeros_like(IDS)),
        LogLikelihoods(IDS[0], [[1], [2, 3]]),
        CompareLogits(IDS[0], "a file"),
        Memory(),
    ],
)
def test_requests_come_through(request_):
    line = write_request(request_)
    assert "\n" not in line
    assert same(read_request(line), request_)


@pytest.mark.parametrize(
    "answer",
    [
        Opened(None, True, False),
        Opened(10**10, False, True),
        WindowScore(0.1 + 0.2, 1.0, 0.5, (0.1, 1e-300)),
        Encoded(np.array([[0.1, 2.0]])),
        MemoryUse(1, {"load": 2}, {}, ["numpy"]),
        Failure("it broke", missing="onnxruntime"),
    ],
)
def test_answers_come_through(answer):
    assert same(read_reply(write_reply(answer), type(answer)), answer)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("no json", "a request is a line of JSON, not 'no json'"),
        ("[1]", "no request that a worker knows"),
        ('{"do": "unheard of"}', "no request that a worker knows"),
        ('{"do": "memory", "x": 1}', "the request Memory has no field x"),
        ('{"do": "generate"}', "the request Generate lacks ids and steps"),
        ('{"do": "generate", "ids": [1.5], "steps": 1}', "ids has elements of type float64, not int64"),
        ('{"do": "generate", "ids": [[1], [2, 3]], "steps": 1}', "ids has rows of different lengths"),
        ('{"do": "generate", "ids": [1], "steps": "1"}', "the request Generate: steps can't be '1'"),
        ('{"do": "generate", "ids": [1], "steps": true}', "steps can't be 'True'"),
        ('{"do": "decode", "ids": [[1]], "steps": 1, "sampling": {"k": 1}}', "the field Sampling has no field k"),
    ],
)
def test_a_malformed_request_is_told(line, reason):
    with pytest.raises(RunError, match=reason.replace("[", r"\[")):
        read_request(line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "a reply is a line of JSON, not ''"),
        ("[]", "no reply of a worker: '[]'"),
        ('{"ok": 1}', "no reply of a worker: "),
        ('{"ok": {"read_bytes": 1}}', "the answer Opened lacks batches and on_device"),
        ('{"failed": {}}', "the failure Failure lacks error"),
    ],
)
def test_a_malformed_reply_is_told(line, reason):
    with pytest.raises(RunError, match=f"^{re.escape(reason)}"):
        read_reply(line, Opened)
