"""Nodes and constants that are added to a graph: names, types, places."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from compress.graph.builder import GraphBuilder, NumberedBuilder, required, set_dtype
from tests.support.graphs import empty_graph, operators, output, run

FLOAT = ir.DataType.FLOAT


def test_equal_constants_are_one_and_named_after_what_they_hold():
    builder = GraphBuilder(empty_graph(), "made")
    first, again = builder.constant([1, 2]), builder.constant(np.array([1, 2]))
    assert first is again
    assert first.name == "made.int64.1x2.1"
    assert builder.constant(1.5).dtype == FLOAT
    assert builder.constant(1).dtype == ir.DataType.INT64
    assert builder.constant(1, "mine").name == "mine"
    assert len(builder.graph.initializers) == 4


def test_nodes_wait_until_they_are_placed():
    graph = empty_graph(x=FLOAT)
    builder = GraphBuilder(graph)
    doubled = builder.op("Add", graph.inputs[0], graph.inputs[0])
    assert operators(graph) == []
    builder.append()
    negative = builder.op("Neg", graph.inputs[0])
    builder.insert_before(doubled.producer())
    assert operators(graph) == ["Neg", "Add"]
    assert negative.name is not None
    assert negative.name != doubled.name


def test_a_name_that_is_used_gets_a_number():
    graph = empty_graph(x=FLOAT)
    builder = GraphBuilder(graph)
    builder.constant(1, "weight.out")
    names = [builder.op("Neg", graph.inputs[0], name=name).name for name in ("a", "a", "a", "weight.out")]
    assert names == ["a", "a.1", "a.2", "weight.out.1"]


@pytest.mark.parametrize("rename", [True, False])
def test_what_replaces_a_node_has_its_type_and_shape_and_maybe_its_name(rename):
    graph = empty_graph(x=FLOAT)
    builder = GraphBuilder(graph)
    old = builder.op("Abs", graph.inputs[0])
    user = builder.op("Neg", old)
    builder.append()
    old.type, old.shape, name = ir.TensorType(FLOAT), ir.Shape([3]), old.name
    new = builder.op("Relu", graph.inputs[0])
    builder.replace(old.producer(), new, rename=rename)
    assert operators(graph) == ["Relu", "Neg"]
    assert user.producer().inputs[0] is new
    assert (new.dtype, new.shape) == (FLOAT, ir.Shape([3]))
    assert (new.name == name) is rename


def test_what_replaces_an_output_of_the_graph_always_has_its_name():
    graph = empty_graph(x=FLOAT)
    builder = GraphBuilder(graph)
    output(graph, builder.op("Abs", graph.inputs[0]), "logits")
    builder.append()
    new = builder.op("Relu", graph.inputs[0], name="other")
    builder.replace(graph.outputs[0].producer(), new)
    assert graph.outputs == [new]
    assert new.name == "logits"


def test_a_linear_and_several_outputs_compute():
    graph = empty_graph(x=FLOAT)
    builder = GraphBuilder(graph)
    weight, bias = builder.weight("w", [4, 2]), builder.weight("b", [4])
    assert builder.weight("w", [4, 2]) is weight
    assert weight.const_value is None
    weight.const_value = ir.tensor(np.arange(8, dtype=np.float32).reshape(4, 2), name="w")
    bias.const_value = ir.tensor(np.ones(4, np.float32), name="b")
    projected = builder.linear(graph.inputs[0], weight, bias)
    low, high = builder.multi_op("Split", projected, outputs=2, axis=1, num_outputs=2)
    output(graph, low, "low")
    output(graph, high, "high")
    output(graph, builder.size(graph.inputs[0], 0), "rows", ir.DataType.INT64)
    builder.append()
    x = np.array([[1, 0], [0, 1], [2, 1]], np.float32)
    expected = x @ weight.const_value.numpy().T + 1
    outputs = run(graph, x=x)
    assert np.array_equal(np.concatenate(outputs[:2], 1), expected)
    assert outputs[2] == 3


def test_a_type_that_is_set_leaves_a_clones_as_it_is():
    graph = empty_graph(x=FLOAT)
    clone = graph.clone()
    set_dtype(graph.inputs[0], ir.DataType.FLOAT16)
    assert (graph.inputs[0].dtype, clone.inputs[0].dtype) == (ir.DataType.FLOAT16, FLOAT)


def test_what_is_required_is_there():
    assert required(0) == 0
    with pytest.raises(ValueError, match="a graph lacks a value"):
        required(None)


def test_numbered_nodes_have_their_numbers_and_endings_in_their_names():
    graph = empty_graph(x=ir.DataType.FLOAT)
    builder = NumberedBuilder(graph, "part", ".exact")
    total = builder.op("Add", *graph.inputs, *graph.inputs)
    halves = builder.multi_op("Split", total, outputs=2, axis=-1, num_outputs=2)
    named = builder.op("Neg", halves[1], name=".half")
    builder.append()
    assert [value.name for value in (total, *halves, named)] == [
        "part.1.0.exact", "part.2.0.exact", "part.2.1.exact", "part.3.0.half"
    ]  # fmt: skip
    assert [node.name for node in graph] == ["part.1.0.exact", "part.2.0.exact", "part.3.0.half"]
