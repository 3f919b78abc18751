"""Float32 graphs as graphs of 16 bits throughout."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch

from compress.export.lowering.cast import cast_graph, widen_graph
from compress.graph.builder import GraphBuilder
from tests.support.graphs import empty_graph, output, run

FLOAT, HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16


def graph_of_floats():
    """A constant, one that is to stay exact, a Cast, one to stay exact, a Constant node and integers."""
    graph = empty_graph(x=FLOAT, ids=ir.DataType.INT64)
    builder = GraphBuilder(graph)
    scaled = builder.op("Mul", graph.inputs[0], builder.constant(-1e9, "low"))
    exact = builder.op("Cast", scaled, name="square.exact", to=int(FLOAT))
    exact = builder.op("Add", exact, builder.constant(1e-5, "epsilon.exact"), name="sum.exact")
    back = builder.op("Cast", exact, name="back", to=int(FLOAT))
    node = ir.node("Constant", [], {"value": ir.tensor(np.array([2], np.float32))})
    builder._pending.append(node)
    output(graph, builder.op("Add", back, node.outputs[0]))
    builder.append()
    for value in (scaled, exact, back):
        value.type = ir.TensorType(FLOAT)
    return ir.Model(graph, ir_version=11)


def test_everything_but_what_is_named_exact_changes_its_type():
    model = graph_of_floats()
    cast_graph(model, torch.float16)
    values = {value.name: value for node in model.graph for value in node.outputs} | dict(model.graph.initializers)
    assert [value.dtype for value in (*model.graph.inputs, *model.graph.outputs)] == [HALF, ir.DataType.INT64, HALF]
    assert {name: values[name].dtype for name in ("low", "epsilon.exact", "sum.exact", "back")} == {
        "low": HALF,
        "epsilon.exact": FLOAT,
        "sum.exact": FLOAT,
        "back": HALF,
    }
    casts = {node.name: node.attributes["to"].as_int() for node in model.graph if node.op_type == "Cast"}
    assert casts == {"square.exact": FLOAT, "back": HALF}
    constant = next(node for node in model.graph if node.op_type == "Constant")
    assert constant.attributes["value"].as_tensor().dtype == HALF


@pytest.mark.parametrize(("dtype", "lowest"), [(torch.float16, -65504.0), (torch.bfloat16, -1e9)])
def test_what_hides_positions_stays_finite(dtype, lowest):
    model = graph_of_floats()
    cast_graph(model, dtype)
    assert float(model.graph.initializers["low"].const_value.numpy()) == pytest.approx(lowest, rel=0.01)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_graph_of_16_bits_computes_in_float32_on_its_own_numbers(dtype):
    graph = empty_graph(x=FLOAT)
    builder = GraphBuilder(graph)
    node = ir.node("Constant", [], {"value": ir.tensor(np.array([2], np.float32))})
    product = builder.op("Mul", graph.inputs[0], builder.constant(1.001, "factor"))
    product.type = ir.TensorType(FLOAT)
    builder._pending.append(node)
    output(graph, builder.op("Add", builder.op("Cast", product, to=int(FLOAT)), node.outputs[0]))
    builder.append()
    model = ir.Model(graph, ir_version=11)
    before = ir.to_proto(model).SerializeToString()
    assert not widen_graph(model)
    assert ir.to_proto(model).SerializeToString() == before
    cast_graph(model, dtype)
    assert widen_graph(model)
    x = np.array([[1.0001, 3]], np.float32)
    factor = np.float32(float(torch.tensor(1.001).to(dtype)))
    assert run(graph, x=x)[0] == pytest.approx(x * factor + 2, abs=1e-6)


def test_a_float32_graph_stays_as_it_is():
    model = graph_of_floats()
    before = ir.to_proto(model).SerializeToString()
    cast_graph(model, torch.float32)
    assert ir.to_proto(model).SerializeToString() == before


def test_a_clone_keeps_its_types():
    model = graph_of_floats()
    clone = model.clone()
    cast_graph(model, torch.float16)
    assert clone.graph.inputs[0].dtype == FLOAT
