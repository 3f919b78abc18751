"""A lowered graph as it lies in its file, but for the rounding that its operators do as they run."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from compress.export.lowering.cast import widen_graph
from compress.graph.builder import GraphBuilder, required, set_dtype
from compress.onnx_names import BIT_WIDTH, PAST, PRESENT, QUANT_TYPES, SCALES


def unrounded(graph: Path, cache: bool = True) -> bytes | None:
    """The graph of a file, serialized, with float inputs and, unless its ``cache`` is to be rounded, a float cache.

    Floats have 32 bits there. None where all that changes nothing.

    Every number is the file's own: its integers, scales and zero points are multiplied out as the graph runs, so what
    is wrong with one of them is wrong here too. External data stay where they are. What MatMulNBits rounds is left to
    the session.
    """
    model = ir.load(graph)
    changed = widen_graph(model)
    nodes = list(model.graph)
    dynamic = [node for node in nodes if node.op_type == "DynamicQuantizeMatMul"]
    attention = [node for node in nodes if BIT_WIDTH in node.attributes] if cache else []
    for node in dynamic:
        _float_inputs(model.graph, node)
    for node in attention:
        _float_cache(node)
    return ir.to_proto(model).SerializeToString() if changed or dynamic or attention else None


def _float_inputs(graph: ir.Graph, node: ir.Node) -> None:
    """Put ``x @ dequantized + bias`` in the place of DynamicQuantizeMatMul."""
    builder = GraphBuilder(graph, "float")
    x, codes, scale, zero_point, bias = (*node.inputs, None, None)[:5]
    matrix = builder.op("DequantizeLinear", codes, scale, zero_point, axis=1)
    product = builder.op("MatMul", x, matrix)
    builder.replace(node, product if bias is None else builder.op("Add", product, bias), rename=True)


def _float_cache(node: ir.Node) -> None:
    """Let GroupQueryAttention keep floats."""
    for attribute in (*QUANT_TYPES, BIT_WIDTH):
        del node.attributes[attribute]
    node.resize_inputs(SCALES[0])
    for value in (*(node.inputs[i] for i in PAST), *(node.outputs[i] for i in PRESENT)):
        set_dtype(required(value), ir.DataType.FLOAT)
