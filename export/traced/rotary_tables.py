"""Replace position-only subgraphs (rotary cos/sin) by lookup tables.

A table is as exact in 16 bits as its entries are, which angles of thousands of radians are not; and it is what
GroupQueryAttention rotates by.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from compress.export.lowering.position_table import ROUNDING, Angles, Function, PositionTable
from compress.export.traced.torch_export import OPSET
from compress.graph.builder import GraphBuilder, required

_POINTWISE = frozenset(
    {"Add", "Cast", "Concat", "Cos", "Div", "Identity", "Mul", "Neg", "Sin", "Slice", "Sub", "Unsqueeze"}
)
"""Operators by which a position's numbers come from that position alone."""
_COMPARED = 8
"""Rows of a table by which its formula is found."""


def replace_by_tables(graph: ir.Graph, longest: int) -> None:
    """Replace every float ``[b, s, size]`` that comes from ``position_ids`` alone by rows of a table of ``longest``."""
    positions = next((value for value in graph.inputs if value.name == "position_ids"), None)
    if positions is None:
        return
    nodes = _nodes_of(graph, positions)
    inside = {positions, *(value for node in nodes for value in node.outputs)}
    for node in nodes:
        _redirect_shape_reads(node.outputs[0], graph.inputs[0])
    ends = [node.outputs[0] for node in nodes if _is_table(node.outputs[0], inside)]
    tables = _evaluate(nodes, ends, longest) if ends else []
    vectors = _vectors(nodes)
    with np.errstate(all="ignore"):  # a vector may be anything, zeros included
        for value, table in zip(ends, tables, strict=True):
            _look_up(graph, value, table, vectors, positions)


def _nodes_of(graph: ir.Graph, positions: ir.Value) -> list[ir.Node]:
    """The nodes that compute of positions and constants alone, position by position."""
    reached = {positions}
    nodes = []
    for node in graph:
        inputs = [value for value in node.inputs if value is not None]
        varying = [value for value in inputs if value.const_value is None]
        if node.op_type in _POINTWISE and reached.intersection(inputs) and reached.issuperset(varying):
            reached.update(node.outputs)
            nodes.append(node)
    return nodes


def _redirect_shape_reads(value: ir.Value, ids: ir.Value) -> None:
    """Let nodes that read but a value's batch or length read those of the ids."""
    if value.shape is not None and len(value.shape) == 3:
        for node, _ in tuple(value.uses()):
            if node.op_type == "Shape" and 0 < node.attributes.get_int("end", 3) <= 2:
                node.replace_input_with(0, ids)


def _is_table(value: ir.Value, inside: set[ir.Value]) -> bool:
    """Whether a value is a float for each position and channel that a node outside reads.

    One channel is the position itself, of angles that a table doesn't hold: they change from call to call.
    """
    by_channel = value.dtype == ir.DataType.FLOAT and value.shape is not None and len(value.shape) == 3
    return (
        by_channel and required(value.shape)[2] != 1 and any(node.outputs[0] not in inside for node, _ in value.uses())
    )


def _vectors(nodes: Sequence[ir.Node]) -> list[NDArray[np.float32]]:
    """The constants of float32 that nodes read, each once, without their axes."""
    constants = {value: value.const_value for node in nodes for value in node.inputs if value is not None}
    arrays = [tensor.numpy() for tensor in constants.values() if tensor is not None]
    return [array.reshape(-1) for array in arrays if array.dtype == np.float32]


def _formula(table: NDArray[np.float32], vectors: Sequence[NDArray[np.float32]]) -> tuple[Function, Angles] | None:
    """The function and the angles by one of the ``vectors`` that give a table, as far as its first rows tell."""
    first = table[:_COMPARED]
    functions: tuple[Function, ...] = ("Cos", "Sin")
    for function, vector in product(functions, (vector for vector in vectors if len(vector) == table.shape[1])):
        rows = Angles(vector, 1.0, len(first)).rows(function)
        scaling = float((first * rows).sum() / (rows * rows).sum())
        scaling = 1.0 if abs(scaling - 1) < ROUNDING else scaling
        if np.abs(scaling * rows - first).max() < ROUNDING:
            return function, Angles(vector, scaling, len(table))
    return None


def _look_up(
    graph: ir.Graph,
    value: ir.Value,
    table: NDArray[np.float32],
    vectors: Sequence[NDArray[np.float32]],
    positions: ir.Value,
) -> None:
    """Put rows of a ``table`` ``[longest, size]``, which knows its formula by ``vectors``, in the place of a value."""
    builder = GraphBuilder(graph)
    constant = builder.constant(table, f"traced.{value.name}.table")
    function, angles = _formula(table, vectors) or (None, None)
    constant.const_value = PositionTable(table, str(constant.name), len(table), function, [angles] if angles else [])
    rows = builder.op("Gather", constant, positions, axis=0)
    rows.shape, rows.type = value.shape, value.type
    builder.insert_before(required(value.producer()))
    value.replace_all_uses_with(rows)


def _evaluate(nodes: Sequence[ir.Node], ends: Sequence[ir.Value], longest: int) -> list[NDArray[np.float32]]:
    """The numbers of ``ends`` for positions up to ``longest``, each ``[longest, size]``."""
    constants = {value.name: value.const_value for node in nodes for value in node.inputs if value is not None}
    tensors = []
    for name, tensor in constants.items():
        if tensor is not None:
            tensors.append(ir.serde.serialize_tensor(tensor))
            tensors[-1].name = str(name)
    graph = onnx.helper.make_graph(
        [ir.serde.serialize_node(node) for node in nodes],
        "tables",
        [onnx.helper.make_tensor_value_info("position_ids", onnx.TensorProto.INT64, [1, longest])],
        [onnx.helper.make_tensor_value_info(str(value.name), onnx.TensorProto.FLOAT, None) for value in ends],
        tensors,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)])
    with np.errstate(all="ignore"):  # angles that aren't finite are the parity gate's to tell
        outputs = ReferenceEvaluator(model).run(None, {"position_ids": np.arange(longest)[None]})
    return [np.ascontiguousarray(output[0], np.float32) for output in outputs]
