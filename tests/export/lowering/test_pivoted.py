"""Pivoted products in a graph: multiplied as their matrices would be, in few nodes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch

from compress.export.lowering import onnxruntime as nodes
from compress.export.lowering.pivoted import pivoted, stacked_order
from compress.weights.forms import Dense, Pivoted
from tests.support.graphs import operators, run_lowered
from tests.support.tensors import gaussian
from tests.support.weights import rounded

X = gaussian(3, 64)


def product(rows: int, rank: int, seed: int) -> Pivoted:
    """A random product of pivots ``[rank, 64]`` and others, in a shuffled order."""
    left, right = gaussian(rows - rank, rank, seed=seed), gaussian(rank, 64, seed=seed + 1)
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    return Pivoted(Dense(left), Dense(right), order.to(torch.int32))


@pytest.mark.parametrize("alike", [True, False])
def test_products_of_one_input_are_multiplied_as_their_stacked_matrices(tmp_path, alike):
    weights = [product(24, 16, seed=1), product(40, 8, seed=3), product(9, 8, seed=5)]
    if not alike:
        weights[1] = replace(weights[1], right=rounded(weights[1].right.tensor, 32, 4))
    names = ["a.q.weight", "a.k.weight", "a.v.weight"]
    actual, graph = run_lowered(tmp_path, lambda emit, x: pivoted(nodes.linear, emit, names, weights, x), X)
    expected = X @ torch.cat([weight.dequantize() for weight in weights]).T
    assert (actual - expected).norm() < 1e-5 * expected.norm()
    shared = {"MatMul": 4, "Split": 1} if alike else {"MatMul": 5, "MatMulNBits": 1}
    assert Counter(operators(graph)) == {**shared, "Concat": 1, "Gather": 1}


def test_the_order_of_one_product_is_its_own():
    weight = product(24, 16, seed=1)
    assert torch.equal(stacked_order([weight]), weight.order)
    both = stacked_order([weight, product(9, 8, seed=5)])
    assert both.dtype == torch.int32
    assert both.sort().values.tolist() == list(range(33))
