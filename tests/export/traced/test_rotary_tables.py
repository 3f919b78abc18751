"""What hangs on positions alone, as rows of a table."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compress.export.traced.rotary_tables import replace_by_tables
from compress.graph.builder import GraphBuilder
from tests.support.graphs import empty_graph, operators, output, run

LONGEST = 16
FREQUENCIES = np.array([1.0, 0.1, 0.01], np.float32)


def cosines():
    """A graph that computes ``[b, s, 3]`` cosines of positions, adds them to ``x``, and reads their batch's size."""
    graph = empty_graph(input_ids=ir.DataType.INT64, position_ids=ir.DataType.INT64, x=ir.DataType.FLOAT)
    builder = GraphBuilder(graph)
    positions = builder.op("Cast", graph.inputs[1], to=int(ir.DataType.FLOAT))
    wide = builder.op("Unsqueeze", positions, builder.constant([2]))
    angles = builder.op("Mul", wide, builder.constant(FREQUENCIES, "frequencies"))
    cos = builder.op("Cos", angles)
    for value in (angles, cos):
        value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([None, None, 3])
    output(graph, builder.op("Add", graph.inputs[2], cos))
    output(graph, builder.dim(cos, 0), "batch", ir.DataType.INT64)
    builder.append()
    return graph


def test_cosines_become_rows_of_a_table():
    graph = cosines()
    ids, positions = np.zeros((2, 4), np.int64), np.array([[0, 1, 2, 15], [3, 3, 9, 0]])
    inputs = {"input_ids": ids, "position_ids": positions, "x": np.ones((2, 4, 3), np.float32)}
    replace_by_tables(graph, LONGEST)
    expected = 1 + np.cos(positions[..., None] * FREQUENCIES)
    actual, batch = run(graph, **inputs)
    assert np.abs(actual - expected).max() < 1e-6
    assert batch == [2]
    (table,) = (value for name, value in graph.initializers.items() if name.endswith(".table"))
    assert tuple(table.shape) == (LONGEST, 3)
    (part,) = table.const_value.parts
    assert (table.const_value.function, part.scaling, part.length) == ("Cos", 1.0, LONGEST)
    assert np.array_equal(part.frequencies, FREQUENCIES)
    gather = next(node for node in graph if node.op_type == "Gather")
    assert gather.inputs[1] is graph.inputs[1]


def test_the_sizes_are_read_off_the_ids():
    graph = cosines()
    replace_by_tables(graph, LONGEST)
    shape = next(node for node in graph if node.op_type == "Shape")
    assert shape.inputs[0] is graph.inputs[0]


def test_a_graph_without_positions_stays_as_it_is():
    graph = empty_graph(x=ir.DataType.FLOAT)
    builder = GraphBuilder(graph)
    output(graph, builder.op("Cos", graph.inputs[0]))
    builder.append()
    replace_by_tables(graph, LONGEST)
    assert operators(graph) == ["Cos"]


def test_positions_themselves_are_no_table():
    """Where angles change from call to call, they are multiplied by frequencies that are computed."""
    graph = cosines()
    frequencies = ir.Value(name="frequencies.now", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([3]))
    graph.inputs.append(frequencies)
    for node in graph:
        for i, value in enumerate(node.inputs):
            if value is not None and value.name == "frequencies":
                node.replace_input_with(i, frequencies)
            if node.op_type == "Unsqueeze":
                node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
                node.outputs[0].shape = ir.Shape([None, None, 1])
    replace_by_tables(graph, LONGEST)
    assert "Gather" not in operators(graph)
