"""What a traced graph computes of positions alone, looked up instead: the cosines and sines of rotations.

A table is as exact in 16 bits as its entries are, which angles of thousands of radians are not; and it is what
GroupQueryAttention rotates by.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from compress.export.traced.torch_export import OPSET

_POINTWISE = frozenset(
    {"Add", "Cast", "Concat", "Cos", "Div", "Identity", "Mul", "Neg", "Sin", "Slice", "Sub", "Unsqueeze"}
)
"""Operators by which a position's numbers come from that position alone."""


def replace_by_tables(graph: ir.Graph, longest: int) -> None:
    """Replace every float ``[b, s, size]`` that comes from ``position_ids`` alone by rows of a table of ``longest``."""
    positions = next((value for value in graph.inputs if value.name == "position_ids"), None)
    if positions is None:
        return
    known = {positions}
    nodes = []
    for node in graph:
        inputs = [value for value in node.inputs if value is not None]
        fixed = all(value in known or value.const_value is not None for value in inputs)
        if node.op_type in _POINTWISE and fixed and any(value in known for value in inputs):
            known.update(node.outputs)
            nodes.append(node)
    for node in nodes:
        _redirect_shape_reads(node.outputs[0], graph.inputs[0])
    ends = [node.outputs[0] for node in nodes if _leaves(node.outputs[0], known)]
    if not ends:
        return
    for value, table in zip(ends, _computed(nodes, ends, longest), strict=True):
        name = f"traced.{value.name}.table"
        tensor = ir.tensor(table, name=name)
        rows = ir.Value(name=name, type=value.type, shape=ir.Shape(table.shape), const_value=tensor)
        graph.initializers.add(rows)
        found = ir.node("Gather", [rows, positions], {"axis": 0})
        found.outputs[0].shape, found.outputs[0].type = value.shape, value.type
        before = value.producer()
        assert before is not None
        graph.insert_before(before, found)
        value.replace_all_uses_with(found.outputs[0])


def _redirect_shape_reads(value: ir.Value, ids: ir.Value) -> None:
    """Let who reads but a value's batch or length read those of the ids."""
    if value.shape is not None and len(value.shape) == 3:
        for node, _ in tuple(value.uses()):
            if node.op_type == "Shape" and 0 < node.attributes.get_int("end", 3) <= 2:
                node.replace_input_with(0, ids)


def _leaves(value: ir.Value, known: set[ir.Value]) -> bool:
    """Whether a value is a float for each position and channel that something else reads."""
    by_channel = value.dtype == ir.DataType.FLOAT and value.shape is not None and len(value.shape) == 3
    return by_channel and any(node.outputs[0] not in known for node, _ in value.uses())


def _computed(nodes: list[ir.Node], ends: list[ir.Value], longest: int) -> list[np.ndarray]:
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
    made = ReferenceEvaluator(model).run(None, {"position_ids": np.arange(longest)[None]})
    return [np.ascontiguousarray(each[0], np.float32) for each in made]
