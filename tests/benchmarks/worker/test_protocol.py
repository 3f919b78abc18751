"""Messages say what they are, and what answers them."""

from dataclasses import is_dataclass

import pytest

from compress.benchmarks.statistics.logits import WindowScore
from compress.benchmarks.worker import protocol
from compress.benchmarks.worker.protocol import REQUESTS, CompareLogits, Memory, MemoryUse


@pytest.mark.parametrize(
    ("request_", "name", "answer"),
    [(Memory, "memory", MemoryUse), (CompareLogits, "compare_logits", WindowScore)],
)
def test_a_request_has_a_name_and_a_class_of_answers(request_, name, answer):
    assert (request_.name(), request_.answer(), REQUESTS[name]) == (name, answer, request_)


def test_every_message_says_what_it_is():
    messages = [
        message
        for message in vars(protocol).values()
        if is_dataclass(message) and message.__module__ == protocol.__name__
    ]
    assert all(message.__doc__ and not message.__doc__.startswith(f"{message.__name__}(") for message in messages)
