"""The parity gate on graphs of one or two nodes: what differs, what doesn't count, what may be rounded."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch

from compress.errors import ExportError, ModelError
from compress.export.parity.compare import DiffersError, check_cache, check_close, check_rounded
from compress.export.parity.reference import TraceStep
from compress.graph.builder import GraphBuilder
from tests.support.graphs import empty_graph, output

FLOAT = ir.DataType.FLOAT
X = np.arange(6, dtype=np.float32).reshape(1, 3, 2)
EVERY = np.ones((1, 3), np.bool_)


def save(graph, folder):
    path = folder / "model.onnx"
    ir.save(ir.Model(graph, ir_version=11), path)
    return path


@pytest.fixture
def doubling(tmp_path):
    """A graph whose logits are twice its input."""
    graph = empty_graph(x=FLOAT)
    builder = GraphBuilder(graph)
    output(graph, builder.op("Add", graph.inputs[0], graph.inputs[0]), "logits")
    builder.append()
    return save(graph, tmp_path)


def step(logits, compared=EVERY, least=0.0, x=X):
    return TraceStep("one text", {"x": x}, {"logits": logits}, compared, least)


def test_equal_outputs_pass_and_the_first_different_one_is_named(doubling):
    check_close(doubling, [[step(2 * X)], [step(2 * X + 3e-4)]])
    with pytest.raises(
        DiffersError, match=r"differs from torch in logits \(one text\): by 0.5 where values reach 10.5;"
    ):
        check_close(doubling, [[step(2 * X)], [step(2 * X + 0.5)]])
    with pytest.raises(DiffersError, match="by inf"):
        check_close(doubling, [[step(2 * X[:, :, :1])]])


def test_nan_is_a_difference(doubling):
    x = X.copy()
    x[0, 1, 1] = np.nan
    with pytest.raises(DiffersError, match="by nan"):
        check_close(doubling, [[step(2 * X, x=x)]])


def test_large_values_may_differ_in_proportion(doubling):
    large = 1000 * X
    check_close(doubling, [[step(2 * large + 0.3, x=large)]])
    with pytest.raises(DiffersError):
        check_close(doubling, [[step(2 * large + 0.5, x=large)]])
    with pytest.raises(DiffersError):
        check_close(doubling, [[step(2 * large + 50, x=large)]])


def test_a_difference_is_held_against_how_far_values_spread(doubling):
    """A ten-thousandth of the standard deviation, and no less than what float32 tells apart."""
    check_close(doubling, [[step(2 * X + 0.9e-4 * (2 * X).std())]])
    with pytest.raises(DiffersError):
        check_close(doubling, [[step(2 * X + 1.2e-4 * (2 * X).std())]])
    alike = np.full_like(X, 50)
    check_close(doubling, [[step(2 * alike + 1e-4, x=alike)]])
    with pytest.raises(DiffersError):
        check_close(doubling, [[step(2 * alike + 1e-3, x=alike)]])


def test_a_graph_may_be_off_by_what_float32_costs_torch_itself(doubling):
    """Where terms cancel; asked for is float64 only where a graph differs."""
    off = 1.5e-4 * (2 * X).std()
    check_close(doubling, [[step(2 * X + off)]], lambda: [[step(2.0 * X.astype(np.float64))]])
    check_close(doubling, [[step(2 * X)]], lambda: pytest.fail("torch was asked"))
    with pytest.raises(DiffersError):
        check_close(doubling, [[step(2 * X + off)]], lambda: [[step(2 * X + 0.9 * off)]])
    with pytest.raises(DiffersError):
        check_close(doubling, [[step(2 * X + off)]], list)


def test_one_classs_logit_may_be_off_by_what_its_terms_are_rounded_to(doubling):
    x = np.full((1, 1, 1), 5e-5, np.float32)
    logit, one = 2 * x + 1e-6, np.ones((1, 1), np.bool_)
    check_close(doubling, [[step(logit, one, least=1.0, x=x)]])
    with pytest.raises(DiffersError, match="by 1e-06"):
        check_close(doubling, [[step(logit, one, x=x)]])


def test_padding_is_not_compared(doubling):
    expected = 2 * X
    expected[0, 0] = 100
    compared = np.array([[False, True, True]])
    check_close(doubling, [[step(expected, compared)]])
    with pytest.raises(DiffersError):
        check_close(doubling, [[step(expected)]])


def test_rounding_may_cost_a_quarter_or_what_it_costs_in_torch(doubling):
    exact = [step(2 * X / 1.2)]
    check_rounded(doubling, exact, lambda: pytest.fail("torch was asked"), {})
    broken = [step(2 * X / 2)]  # an error of 1
    with pytest.raises(ExportError, match=r"not close to torch in logits \(one text\): relative error 1, allowed 0.25"):
        check_rounded(doubling, broken, lambda: broken, {})
    check_rounded(doubling, broken, lambda: [step(2 * X / 2 * 1.8)], {})


def test_logits_near_zero_may_be_off_by_a_quarter_of_the_least(doubling):
    undecided = [step(np.full_like(X, 0.01), least=1.0, x=0.1 * X / X.max())]
    check_rounded(doubling, undecided, lambda: undecided, {})
    with pytest.raises(ExportError):
        check_rounded(doubling, [step(np.full_like(X, 0.01), x=0.1 * X / X.max())], lambda: undecided, {})


def test_zeros_are_near_zeros_alone(doubling):
    """A layer without any weight but zeros divides nothing by zero."""
    zeros = [step(np.zeros_like(X), x=np.zeros_like(X))]
    check_close(doubling, [zeros])
    check_rounded(doubling, zeros, lambda: zeros, {})
    with pytest.raises(ExportError, match="relative error 6"):
        check_rounded(doubling, [step(np.zeros_like(X))], lambda: zeros, {})


def test_a_model_that_is_nan_itself_is_not_exported(doubling):
    x = X.copy()
    x[0, 1, 1] = np.nan
    with pytest.raises(ModelError, match=r"the model itself gives NaN or infinity in torch, in logits \(one text\)"):
        check_close(doubling, [[step(2 * x, x=x)]])


@pytest.fixture
def remembering(tmp_path):
    """A graph that appends its input to its cache, ``[b, 1, t, 1]``."""
    graph = empty_graph(**{"x": FLOAT, "past_key_values.0.key": FLOAT})
    x, past = graph.inputs
    x.shape, past.shape = ir.Shape(["b", 1, "s", 1]), ir.Shape(["b", 1, "t", 1])
    builder = GraphBuilder(graph)
    present = builder.op("Concat", past, x, axis=2)
    output(graph, present, "present.0.key")
    builder.append()
    return save(graph, tmp_path)


def cached(name, new, key, keys):
    """A step that takes ``new`` in, after which the last ``keys`` of ``key`` are the cache."""
    x = np.array(new, np.float32).reshape(1, 1, -1, 1)
    return TraceStep(name, {"x": x}, {"present.0.key": key[:, :, -keys:]}, np.ones((1, 1), np.bool_))


def test_each_step_goes_on_from_the_cache_of_the_one_before(remembering):
    every_key = np.array([1, 2, 3], np.float32).reshape(1, 1, 3, 1)
    steps = [cached("first", [1, 2], every_key[:, :, :2], 2), cached("second", [3], every_key, 3)]
    check_close(remembering, [steps])
    check_close(remembering, [[steps[0], cached("in a window", [3], every_key, 2)]])  # torch's has forgotten one
    with pytest.raises(DiffersError, match=r"present.0.key \(alone\)"):
        check_close(remembering, [[steps[0]], [cached("alone", [3], every_key, 3)]])


def test_a_heads_copies_in_torch_are_one_head(remembering):
    key = np.array([1, 2], np.float32).reshape(1, 1, 2, 1).repeat(3, axis=1)
    check_close(remembering, [[cached("grouped", [1, 2], key, 2)]])


def test_a_cache_to_begin_with_is_cut_to_the_graphs_heads(remembering):
    past = np.array([5, 6], np.float32).reshape(1, 1, 2, 1)
    step = cached("behind a cache", [1], np.array([5, 6, 1], np.float32).reshape(1, 1, 3, 1), 3)
    step.inputs["past_key_values.0.key"] = past.repeat(3, axis=1)
    check_close(remembering, [[step]])


def test_an_integer_cache_is_compared_in_its_scales(remembering):
    """Kept as it is it's 128 times too large."""
    key = np.array([1, 2], np.float32).reshape(1, 1, 2, 1)
    trace = [cached("int8", [128, 256], key, 2)]
    scales = {"past_key_values.0.key": torch.full((1, 1, 1, 1), 1 / 128)}
    check_rounded(remembering, trace, lambda: trace, scales)
    with pytest.raises(ExportError, match="present.0.key"):
        check_rounded(remembering, trace, lambda: trace, {})


def test_an_integer_cache_may_cost_what_it_costs_in_torch(remembering):
    """Or a fiftieth: no more than that is asked of torch."""
    key = np.array([1, 2], np.float32).reshape(1, 1, 2, 1)
    scales = {"past_key_values.0.key": torch.full((1, 1, 1, 1), 1 / 128)}
    check_cache(remembering, [cached("int8", [129, 258], key, 2)], [], scales)
    off = [cached("int8", [134, 268], key, 2)]  # by 4.7 %
    check_cache(remembering, off, [cached("int8", [], 1.04 * key, 2)], scales)
    with pytest.raises(ExportError, match=r"present.0.key \(int8\): relative error 0.0469, allowed 0.03"):
        check_cache(remembering, off, [cached("int8", [], 1.02 * key, 2)], scales)


def test_what_the_runtime_cannot_load_is_an_export_error(tmp_path):
    graph = empty_graph(x=FLOAT)
    builder = GraphBuilder(graph)
    output(graph, builder.op("NoSuchOperator", graph.inputs[0]), "logits")
    builder.append()
    with pytest.raises(ExportError, match="onnxruntime can't load the exported graph: .*NoSuchOperator"):
        check_close(save(graph, tmp_path), [[step(X)]])
