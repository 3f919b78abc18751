"""The greedy spender by itself: what is bought in which order, and what no longer fits."""

import pytest

from compress.passes.solvers.budget import Rung, spend_budget

LADDERS = {
    "steep": [Rung(1, 9.0), Rung(2, 1.0), Rung(3, 0.5)],
    "flat": [Rung(1, 2.0), Rung(2, 1.5), Rung(4, 0.0)],
    "only": [Rung(5, 3.0)],
}


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (0, {"steep": 0, "flat": 0, "only": 0}),  # the lowest rungs are taken whatever they cost
        (7.9, {"steep": 0, "flat": 0, "only": 0}),
        (8, {"steep": 1, "flat": 0, "only": 0}),  # 8 a unit
        (9, {"steep": 1, "flat": 1, "only": 0}),  # 0.5 a unit each: the smaller key first
        (10, {"steep": 2, "flat": 1, "only": 0}),  # the flat one's next step costs 2
        (12, {"steep": 2, "flat": 2, "only": 0}),
        (99, {"steep": 2, "flat": 2, "only": 0}),
    ],
)
def test_the_step_that_saves_most_for_its_cost_comes_first(budget, expected):
    assert spend_budget(LADDERS, budget) == expected


def test_a_step_that_does_not_fit_ends_its_ladder_alone():
    ladders = {0: [Rung(1, 100.0), Rung(50, 0.0), Rung(51, 0.0)], 1: [Rung(1, 1.0), Rung(3, 0.5)]}
    assert spend_budget(ladders, 10) == {0: 0, 1: 1}


def test_nothing_to_choose_from():
    assert spend_budget({}, 10.0) == {}
