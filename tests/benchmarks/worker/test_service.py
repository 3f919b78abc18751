"""Requests are answered by the engine, its seconds taken by the engine's own clock."""

from dataclasses import is_dataclass
from inspect import signature
from itertools import count
from typing import get_type_hints

import numpy as np
import pytest
from scipy.special import log_softmax

from compress.benchmarks.worker import service as module
from compress.benchmarks.worker.protocol import (
    REQUESTS,
    AppendToken,
    CompareEmbeddings,
    CompareLogits,
    Decode,
    Encode,
    Generate,
    LogLikelihoods,
    Memory,
    Open,
    ReadPrompt,
    ReferenceEmbeddings,
    ReferenceLogits,
)
from compress.benchmarks.worker.service import Service
from compress.errors import RunError

VOCABULARY = 11
TABLE = np.random.default_rng(0).normal(size=(VOCABULARY, VOCABULARY)).astype(np.float32)


class Bigram:
    """A decoder whose next token depends on the last one alone; its clock counts how often it is read."""

    def __init__(self):
        ticks = count()
        self.clock = lambda: float(next(ticks))

    def read_bytes(self):
        return TABLE.nbytes

    def token_bytes(self):
        return 7

    def start(self, prompt, max_new_tokens):
        return self.step(int(prompt[-1]))

    def step(self, token):
        return int(TABLE[token].argmax())

    def logits(self, ids):
        return TABLE[ids]


class Means:
    """An encoder whose embedding is the mean of its tokens' rows."""

    def embed(self, ids, mask):
        return (TABLE[ids] * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)


@pytest.fixture
def opened(monkeypatch):
    def make(engine, kind):
        monkeypatch.setattr(module, "load_engine", lambda *facts: engine)
        service = Service()
        return service, service.answer(Open("any", "here", kind, 1))

    return make


def chain(token, steps):
    tokens = [token]
    for _ in range(steps):
        tokens.append(int(TABLE[tokens[-1]].argmax()))
    return tokens[1:]


def test_a_decoder_is_timed_by_its_clock(opened):
    service, answer = opened(Bigram(), "decoder")
    assert (answer.read_bytes, answer.batches, answer.on_device) == (TABLE.nbytes, False, False)
    generated = service.answer(Generate(np.array([4, 2]), 3))
    assert generated.tokens == chain(2, 4)
    assert (generated.first, generated.steps, generated.token_bytes) == (1.0, [1.0] * 3, 7)
    assert service.answer(ReadPrompt(np.array([4, 2]), 1)).token == generated.tokens[0]
    assert service.answer(AppendToken(generated.tokens[0])).token == generated.tokens[1]
    assert service.answer(Memory()).phases.keys() == {"load", "prefill", "decode"}


def test_targets_are_compared_after_the_same_tokens(opened):
    """Of a target of two tokens the first is the window's last, so that its second one follows the window."""
    service, _ = opened(Bigram(), "decoder")
    logs = log_softmax(TABLE.astype(np.float64), axis=-1)
    answer = service.answer(LogLikelihoods(np.array([1, 5, 3]), [[3, 8], [9], [3, int(TABLE[3].argmax())]]))
    expected = [logs[5, 3] + logs[3, 8], logs[3, 9], logs[5, 3] + logs[3].max()]
    assert answer.values == pytest.approx(expected, rel=1e-12)
    assert answer.greedy == [False, bool(TABLE[3].argmax() == 9), bool(TABLE[5].argmax() == 3)]


def test_logits_are_compared_with_those_in_a_file(opened, tmp_path):
    service, _ = opened(Bigram(), "decoder")
    ids, file = np.array([1, 5, 3, 2]), str(tmp_path / "logits.npy")
    logs = log_softmax(TABLE.astype(np.float64), axis=-1)
    own = service.answer(ReferenceLogits(ids, file))
    assert own.nll == pytest.approx(-(logs[1, 5] + logs[5, 3] + logs[3, 2]) / 3, rel=1e-12)
    assert (own.kl, own.top1) == (0.0, 1.0)
    again = service.answer(CompareLogits(ids, file))
    assert (again.nll, again.kl, again.top1) == (pytest.approx(own.nll), 0.0, 1.0)


def test_embeddings_are_compared_with_those_in_a_file(opened, tmp_path):
    service, answer = opened(Means(), "encoder")
    ids, mask, file = np.array([[1, 2], [3, 4]]), np.array([[1, 1], [1, 0]]), str(tmp_path / "rows.npy")
    assert answer.read_bytes is None
    assert service.answer(Encode(ids, mask, np.zeros_like(ids))).outputs[1] == pytest.approx(TABLE[3])
    assert service.answer(ReferenceEmbeddings(ids, mask, file)).values == [1.0, 1.0]
    alike = service.answer(CompareEmbeddings(ids[::-1], mask[::-1], file)).values
    first, second = TABLE[[1, 2]].mean(0), TABLE[3]
    expected = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert alike == pytest.approx([expected] * 2, rel=1e-5)


def test_what_an_engine_has_no_way_to_answer_is_told(opened):
    service, _ = opened(Bigram(), "decoder")
    with pytest.raises(RunError, match="this engine can't run batches"):
        service.answer(Decode(np.array([[1]]), 1))
    with pytest.raises(RunError, match="this engine can't embed sentences"):
        service.answer(Encode(np.array([[1]]), np.array([[1]]), np.array([[0]])))
    with pytest.raises(RunError, match="nothing is open"):
        Service().answer(Generate(np.array([1]), 0))


def test_outputs_that_are_not_finite_are_an_error(opened):
    class Broken(Bigram):
        def logits(self, ids):
            return np.full((len(ids), VOCABULARY), np.nan, np.float32)

    service, _ = opened(Broken(), "decoder")
    with pytest.raises(RunError, match="its outputs aren't finite"):
        service.answer(LogLikelihoods(np.array([1]), [[1]]))


def test_the_service_answers_every_request_with_its_answer():
    assert {"open", "generate", "compare_logits", "memory"} <= set(REQUESTS)
    for name, request in REQUESTS.items():
        method = getattr(Service, name)
        assert is_dataclass(request) and is_dataclass(request.answer())
        assert get_type_hints(method) == {"request": request, "return": request.answer()}
        assert list(signature(method).parameters) == ["self", "request"]
