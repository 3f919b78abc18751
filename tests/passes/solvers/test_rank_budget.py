"""Rank budgets against trying every choice."""

import math

import pytest
import torch

from compress.passes.solvers.rank_budget import ProductSize, RankLosses, choose_ranks

PLAIN = ProductSize((128, 64), 1, pivoted=False)
PIVOTED = ProductSize((128, 64), 4, pivoted=True)


def test_a_product_takes_the_bytes_that_its_form_says():
    assert PLAIN.nbytes(8) == 8 * 192
    assert PIVOTED.nbytes(8) == 4 * 8 * (192 - 8) + 4 * 128
    assert [size.dense for size in (PLAIN, PIVOTED)] == [8192, 4 * 8192]
    assert [rank for rank in (0, 8, 40, 48, 64) if PLAIN.shrinks(rank)] == [8, 40]
    assert [rank for rank in (0, 8, 40, 56, 63, 64) if PIVOTED.shrinks(rank)] == [8, 40, 56]
    assert PIVOTED.form(40).parts["left"].shape == (88, 40)
    assert RankLosses(PIVOTED, torch.ones(64)).ranks() == [8, 16, 24, 32, 40, 48, 56, 0]


def test_a_budget_is_shared_out_by_loss_saved():
    falling = torch.tensor([0.5**i for i in range(64)])
    flat = torch.ones(64)
    offers = {
        "falling": RankLosses(PLAIN, falling),
        "flat": RankLosses(PLAIN, flat),
        "flat again": RankLosses(PLAIN, flat),
    }
    ranks = choose_ranks(offers, 0.7)
    stored = sum(rank * 192 if rank else 8192 for rank in ranks.values())
    assert stored <= 0.7 * 3 * 8192 < stored + 8 * 192 * 3
    assert 0 < ranks["falling"] <= 24  # a second step hardly saves anything
    assert ranks["falling"] < max(ranks["flat"], 43 * (ranks["flat"] == 0))


def brute(offers, keep):
    """The least loss of any choice of ranks within the budget."""
    best = math.inf
    names = list(offers)
    choices = [[*range(8, 64, 8)] for _ in names]
    for a in choices[0]:
        for b in choices[1]:
            ranks = dict(zip(names, (rank if PLAIN.shrinks(rank) else 0 for rank in (a, b)), strict=True))
            if sum(r * 192 if r else 8192 for r in ranks.values()) <= keep * 2 * 8192:
                best = min(best, lost(offers, ranks))
    return best


def lost(offers, ranks):
    return sum(float(offers[n].losses[r:].sum() / offers[n].losses.sum()) if r else 0.0 for n, r in ranks.items())


@pytest.mark.parametrize("keep", [0.3, 0.5, 0.75])
def test_the_shares_are_the_best_there_are(keep):
    curves = (0.93, 0.97)
    offers = {str(base): RankLosses(PLAIN, torch.tensor([base**i for i in range(64)])) for base in curves}
    assert lost(offers, choose_ranks(offers, keep)) <= brute(offers, keep) + 1e-9
