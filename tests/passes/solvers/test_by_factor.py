"""Factor by factor: statistics behind a stored factor, and solvers of dense matrices on products."""

import pytest
import torch

from compress.calibration.statistics import RunningStatistics, Statistic
from compress.calibration.walk import walk_blocks
from compress.checkpoint.model import Model
from compress.errors import PassError
from compress.passes.int4 import Int4
from compress.passes.solvers.by_factor import by_factor, each_factor, leaf_names, rejoined
from compress.passes.solvers.whitened_svd import OutputMetric
from compress.progress import Silent
from compress.weights.error import output_error
from compress.weights.forms import Dense, Factored, Quantized
from tests.support.tensors import gaussian, token_ids

TOKENS = token_ids(16, 32)


def statistics(x, y, level=Statistic.MISMATCH):
    actual = RunningStatistics(level, x.shape[-1])
    actual.update(x, 64, y)
    return actual.finish()


@pytest.mark.usefixtures("exact_products")
def test_statistics_behind_a_factor_are_those_of_its_outputs():
    x, right, stored = gaussian(64, 12), gaussian(5, 12, seed=1), gaussian(5, 12, seed=2)
    y = x + 0.1 * gaussian(64, 12, seed=3)
    actual, expected = statistics(x, y).propagated(right, stored), statistics(x @ stored.T, y @ right.T)
    for key in ("amax", "square", "gram", "mismatch", "sample"):
        assert torch.allclose(getattr(actual, key), getattr(expected, key), atol=1e-4), key
    assert (actual.level, actual.tokens) == (expected.level, expected.tokens)


@pytest.mark.parametrize("level", [Statistic.AMAX, Statistic.GRAM])
def test_no_more_is_known_behind_a_factor_than_before_it(level):
    actual = statistics(gaussian(64, 12), None, level).propagated(gaussian(5, 12), gaussian(5, 12))
    assert actual.amax.shape == actual.square.shape == (5,)
    assert len(actual.gram) == (5 if level is Statistic.GRAM else 0)
    assert len(actual.mismatch) == 0


def test_the_right_factor_is_solved_first_and_the_left_on_what_that_leaves():
    class Half:
        def __init__(self, weight):
            self.weight = Dense(weight.tensor / 2)

    weights = {
        "a.q.weight": Factored(Dense(gaussian(6, 3)), Dense(gaussian(3, 12, seed=1))),
        "a.k.weight": Dense(gaussian(4, 12)),
    }
    calls = []

    def solve(leaves, inputs):
        calls.append((list(leaves), inputs))
        return {name: Half(leaf) for name, leaf in leaves.items()}

    inputs = statistics(gaussian(64, 12), gaussian(64, 12))
    actual = by_factor("half", weights, inputs, solve)
    assert [names for names, _ in calls] == [["a.q.right.weight", "a.k.weight"], ["a.q.left.weight"]]
    assert calls[0][1] is inputs
    right = weights["a.q.weight"].right.tensor
    assert torch.equal(calls[1][1].gram, inputs.propagated(right, right / 2).gram)
    product = rejoined("a.q.weight", weights["a.q.weight"], actual)
    assert torch.allclose(product.dequantize(), weights["a.q.weight"].dequantize() / 4)
    assert torch.equal(rejoined("a.k.weight", weights["a.k.weight"], actual).tensor, weights["a.k.weight"].tensor / 2)
    assert leaf_names("a.q.weight", weights["a.q.weight"]) == ["a.q.left.weight", "a.q.right.weight"]


def test_other_forms_are_refused():
    codes = Quantized(torch.ones(2, 2, dtype=torch.int8), torch.ones(2, 1), 4, 2)
    with pytest.raises(PassError, match="half works on dense weights and products of them; w is Quantized"):
        by_factor("half", {"w": Factored(codes, Dense(torch.ones(2, 2)))}, None, lambda leaves, _: leaves)
    with pytest.raises(PassError, match="w is Quantized"):
        each_factor("half", "w", codes, lambda leaf: leaf)


@pytest.fixture(params=[False, True], ids=["plain", "pivoted"])
def layer(llama, request):
    """The first layer with products of half the rank for q and down, its inputs, and the products' names."""
    block, inputs = next(
        (b, i) for b, i in walk_blocks(Model.open(str(llama)), TOKENS, Silent(), originals=True) if b.role == "layer"
    )
    names = [name for name in block.weights if "q_proj" in name or "down" in name]
    for name in names:
        spectrum = OutputMetric(None).spectrum(block.weights[name].tensor)
        block.weights[name] = spectrum.product(32, torch.float32, pivoted=request.param)
    return block, inputs, names


def test_a_left_factor_makes_the_right_ones_error_good(layer):
    block, inputs, (q, _) = layer
    exact = block.weights[q]
    gram = inputs.statistics(Statistic.GRAM, [q])[q].gram

    def error(weight):
        return output_error(exact.dequantize(), weight.dequantize(), gram)

    Int4().run(block, inputs)
    without = Int4(mismatch="off").apply(q, exact, inputs.statistics(Statistic.GRAM, [q]))
    nearest = Int4(solver="rtn").apply(q, exact, {})
    assert error(block.weights[q]) < 0.9 * error(without) < 0.9 * error(nearest)
    assert block.reports[q].error == pytest.approx(error(block.weights[q]), rel=0.02)


@pytest.mark.parametrize("solver", ["gptq", "learned", "rtn"])
def test_products_and_dense_matrices_mix_in_a_layer(layer, solver):
    torch.manual_seed(0)
    block, inputs, names = layer
    exact = dict(block.weights)
    Int4(solver=solver, steps=4).run(block, inputs)
    for name, weight in block.weights.items():
        assert isinstance(weight, Factored if name in names else Quantized)
        leaves = [weight.left, weight.right] if name in names else [weight]
        assert type(weight) is type(exact[name]) or name not in names
        assert [(leaf.bits, leaf.group) for leaf in leaves] == [(4, 32)] * len(leaves)
        assert block.reports[name].error is None if solver == "rtn" else block.reports[name].error > 0
