"""Figures and rows that no measurement gives are found in a card."""

import math

import pytest

from compress.benchmarks.results.plausibility import implausible
from compress.benchmarks.results.scorecard import Settings
from compress.benchmarks.statistics.measure import Measure
from tests.support.cards import BASE, INT8


@pytest.mark.parametrize(
    ("figures", "problem"),
    [
        ({}, None),
        ({"cosine": -1.0, "spearman": -0.5, "accuracy_ratio": 1.2, "bandwidth_fraction": 1.1}, None),
        ({"top1": 1.0 + 1e-12}, None),
        ({"disk_bytes": -1.0}, "says disk_bytes of int8 is -1"),
        ({"decode_tps": [1.0, math.nan]}, "says decode_tps of int8 is nan"),
        ({"decode_tps": [5.0, -1.0, 5.0]}, "says decode_tps of int8 is -1"),
        ({"retention": math.inf}, "says retention of int8 is inf"),
        ({"perplexity": 1e300}, "says perplexity of int8 is 1e+300"),
        ({"decode_tps": [1.0, 1e-320]}, "says decode_tps of int8 is 1e-320"),
        ({"retention": 1.5}, "says retention of int8 is 1.5"),
        ({"cosine": -1.5}, "says cosine of int8 is -1.5"),
        ({"task.acc": math.nan}, "says task.acc of int8 is nan"),
        ({"task.loss": -3.0}, None),
        ({(8, 1): {"decode_tps": [-1.0, -1.0]}}, "says decode_tps of int8 is -1"),
    ],
)
def test_figures(card, figures, problem):
    assert implausible(card(torch=BASE, onnx=BASE, int8=INT8 | figures)) == problem


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"load": math.nan}, "says load is nan"),
        ({"others": -1.0}, "says others is -1"),
        ({"bandwidth": math.inf}, "says bandwidth is inf"),
        ({"threads": 0}, "says that 0 threads read 8 windows"),
        ({"threads": 10**400}, f"says that {10**400} threads read 8 windows"),
        ({"windows": (8, -1)}, "says that 2 threads read 8 windows"),
        ({"seconds": {"speed": math.nan}}, "says speed is nan"),
        ({"settings": Settings(lengths=(0,))}, "says that 1 lengths were measured in 0 batches"),
        (
            {"settings": Settings(lengths=tuple(range(1, 1001)), batches=tuple(range(1, 1001)))},
            "says that 1000 lengths were measured in 1000 batches",
        ),
        ({"rows": ()}, "doesn't begin with one row of the original"),
    ],
)
def test_facts(card, changes, problem):
    assert implausible(card(torch=BASE, onnx=BASE, int8=INT8).model_copy(update=changes)) == problem


def test_rows(card):
    scored = card(torch=BASE, onnx=BASE, int8=INT8)
    original, float_, int8 = scored.rows
    rows = {
        "doesn't begin with one row of the original": (float_, original),
        "has two rows called 'int8'": (original, int8, int8),
        "says kl of int8 is at least 2 and at most 1": (
            original,
            int8.model_copy(update={"measures": {"kl": Measure(value=1.5, bounds=(2.0, 1.0))}}),
        ),
        f"says that int8 has {10**400} parameters": (original, int8.model_copy(update={"parameters": 10**400})),
        "says that int8 has 0 parameters": (original, int8.model_copy(update={"parameters": 0})),
    }
    for problem, chosen in rows.items():
        assert implausible(scored.model_copy(update={"rows": chosen})) == problem
    again = (original, original.model_copy(update={"name": "torch2"}))
    assert implausible(scored.model_copy(update={"rows": again})) == "doesn't begin with one row of the original"
