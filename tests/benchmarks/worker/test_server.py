"""Every line has a reply, whatever it holds."""

import pytest

from compress.benchmarks.worker.server import reply
from compress.benchmarks.worker.service import Service
from compress.benchmarks.worker.wire import Failure


@pytest.mark.parametrize("line", ["no json", '{"do": "unheard of"}', '{"do": "memory", "x": 1}', '{"do": "generate"}'])
def test_every_failure_is_an_answer(line):
    assert isinstance(reply(Service(), line), Failure)


def test_nothing_is_answered_before_a_model_is_open():
    assert "nothing is open" in reply(Service(), '{"do": "generate", "ids": [1], "steps": 1}').error
