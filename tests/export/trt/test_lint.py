"""Lints of graphs for TensorRT, on a graph of one product with one thing at a time wrong."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from compress.errors import ExportError
from compress.export.trt.lint import lint_graph


def dequantized(
    codes="INT4", scale=np.float32, zero=None, block=32, rows=64, scales=2, domain="", op="DequantizeLinear"
):
    """A graph of one product with integers, so that one thing at a time can be wrong with it."""
    stored = np.zeros((rows, 8), np.int8)
    stored = ir.tensor(stored if codes == "INT8" else stored.astype(ir.DataType[codes].numpy()), name="codes")
    inputs = [
        ir.Value(name="codes", type=ir.TensorType(stored.dtype), const_value=stored),
        ir.Value(name="scale", const_value=ir.tensor(np.ones((scales, 8), scale), name="scale")),
    ]
    inputs[1].type = ir.TensorType(inputs[1].const_value.dtype)
    if zero is not None:
        inputs.append(ir.Value(name="zero", const_value=ir.tensor(np.full((scales, 8), zero, np.int8), name="zero")))
    attributes = ir.convenience.convert_attributes({"axis": 0, **({"block_size": block} if block else {})})
    node = ir.Node(domain, op, inputs, attributes, num_outputs=1, name="dq")
    graph = ir.Graph([], node.outputs, nodes=[node], initializers=inputs, opset_imports={"": 21}, name="g")
    return ir.Model(graph, ir_version=10)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"zero": 1}, "its zero point has to be 0"),
        ({"scale": np.float16}, "its scale is FLOAT16, in a graph of FLOAT"),
        ({"block": 24}, "blocks of 24 don't divide the 64 inputs"),
        ({"scales": 1}, "1 scales for 2 blocks"),
        ({"block": 0}, "4 bits come in blocks"),
        ({"codes": "UINT4"}, "integers of 8 or 4 bits with a sign are needed, not UINT4"),
        ({"domain": "com.microsoft", "op": "MatMulNBits"}, "TensorRT has no operator com.microsoft::MatMulNBits"),
        ({"op": "DynamicQuantizeLinear"}, "TensorRT has no operator ::DynamicQuantizeLinear"),
    ],
)
def test_lints_name_what_would_be_refused(wrong, message):
    lint_graph(dequantized(), ir.DataType.FLOAT)
    lint_graph(dequantized(codes="INT8", zero=0), ir.DataType.FLOAT)
    with pytest.raises(ExportError, match=message):
        lint_graph(dequantized(**wrong), ir.DataType.FLOAT)


def test_lints_look_at_opsets_types_and_constants():
    model = dequantized()
    model.opset_imports[""] = 24
    with pytest.raises(ExportError, match="standard operators up to opset 21"):
        lint_graph(model, ir.DataType.FLOAT)
    model = dequantized()
    model.graph.outputs[0].type = ir.TensorType(ir.DataType.FLOAT16)
    with pytest.raises(ExportError, match="is FLOAT16, in a graph of FLOAT"):
        lint_graph(model, ir.DataType.FLOAT)
    model = dequantized()
    next(iter(model.graph)).inputs[0].const_value = None
    with pytest.raises(ExportError, match="integers and scales have to be constant"):
        lint_graph(model, ir.DataType.FLOAT)
