"""The programme by itself: against trying everything, and where the budget has more units than it tells apart."""

import random
from itertools import product

import pytest

from compress.passes.solvers import budget as module
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


def test_of_equal_losses_the_cheapest_is_taken():
    assert spend_budget({"a": [Rung(3, 1.0), Rung(2, 1.0), Rung(4, 1.0)], "b": [Rung(1, 0.0), Rung(2, 0.0)]}, 99) == {
        "a": 1,
        "b": 0,
    }


def test_a_better_way_than_step_by_step():
    """Greedily, "a" takes the step that saves most a unit, and what is left buys "b" nothing."""
    ladders = {"a": [Rung(0, 10.0), Rung(3, 4.0)], "b": [Rung(0, 9.0), Rung(4, 1.5)]}
    assert spend_budget(ladders, 4) == {"a": 0, "b": 1}


def ladders_at_random(seed):
    """Of different lengths, neither falling nor convex, with costs in any order."""
    generator = random.Random(seed)
    return {
        i: [Rung(generator.randint(0, 40), generator.random()) for _ in range(generator.randint(1, 5))]
        for i in range(5)
    }


def total(ladders, rungs):
    """Cost and loss of a choice."""
    return tuple(sum(part) for part in zip(*(ladders[key][rung] for key, rung in rungs.items()), strict=True))


def best(ladders, budget):
    """The least loss of all choices within the budget; None where there is none."""
    choices = (dict(enumerate(way)) for way in product(*(range(len(ladder)) for ladder in ladders.values())))
    return min((total(ladders, way)[1] for way in choices if total(ladders, way)[0] <= budget), default=None)


@pytest.mark.parametrize("seed", range(12))
def test_equals_trying_everything(seed):
    ladders = ladders_at_random(seed)
    for budget in (20, 45.5, 70, 110, 200):
        cost, loss = total(ladders, spend_budget(ladders, budget))
        least = best(ladders, budget)
        if least is None:
            assert cost == sum(min(rung.cost for rung in ladder) for ladder in ladders.values())
        else:
            assert cost <= budget
            assert loss == pytest.approx(least)


def test_costs_that_are_told_apart_roughly_keep_the_budget(monkeypatch):
    ladders = ladders_at_random(3)
    cheapest = {i: [Rung(rung.cost * 1000 + i, rung.loss) for rung in ladder] for i, ladder in ladders.items()}
    exact = total(cheapest, spend_budget(cheapest, 90_000))[1]
    monkeypatch.setattr(module, "_STATES", 200)
    cost, loss = total(cheapest, spend_budget(cheapest, 90_000))
    assert cost <= 90_000
    assert exact <= loss <= best(cheapest, 85_000)
