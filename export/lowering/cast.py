"""Cast a float32 graph to float16 or bfloat16: strongly typed, nothing left for the runtime to choose; and back."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch
from onnx_ir.tensor_adapters import from_torch_dtype

from compress.export.lowering.decompose import FLOAT32_SUFFIX
from compress.graph.builder import GraphBuilder, set_dtype
from compress.onnx_names import BIT_WIDTH, SCALES

_HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def cast_graph(model: ir.Model, dtype: torch.dtype) -> None:
    """Cast a float32 graph to ``dtype``, inputs and outputs included, but for what is named to be exact.

    The scales of an int8 cache stay float32, which its operator wants.
    """
    target = from_torch_dtype(dtype)
    if target == ir.DataType.FLOAT:
        return
    for value in (*model.graph.inputs, *model.graph.outputs):
        _cast_value(value, target)
    scales = {value for node in model.graph if BIT_WIDTH in node.attributes for value in node.inputs[SCALES[0] :]}
    for name, value in model.graph.initializers.items():
        if value in scales or value.const_value is None or name.endswith(FLOAT32_SUFFIX):
            continue
        if value.dtype == ir.DataType.FLOAT:
            value.const_value = _cast_tensor(value.const_value, dtype)
            set_dtype(value, target)
    outputs = set(model.graph.outputs)
    for node in model.graph:
        if str(node.name).endswith(FLOAT32_SUFFIX):
            continue
        _cast_attributes(node, dtype)
        for value in node.outputs:
            if value not in outputs:
                _cast_value(value, target)


def widen_graph(model: ir.Model) -> bool:
    """Let a graph of 16 bits compute in float32, on the numbers that it has; returns whether it is one.

    Initializers stay as they are stored, each behind a Cast. What a graph rounds to the other type of 16 bits stays so.
    """
    graph, builder = model.graph, GraphBuilder(model.graph, "float")
    half = next((value.dtype for value in graph.outputs if value.dtype in _HALVES), None)
    if half is None:
        return False
    nodes, stored = list(graph), [value for value in graph.initializers.values() if value.dtype == half]
    for value in stored:
        uses = tuple(value.uses())
        floats = builder.op("Cast", value, name=f"{value.name}.float", to=int(ir.DataType.FLOAT))
        for user, index in uses:
            user.replace_input_with(index, floats)
    for value in (*graph.inputs, *graph.outputs, *(output for node in nodes for output in node.outputs)):
        if value.dtype == half:
            set_dtype(value, ir.DataType.FLOAT)
    for node in nodes:
        if node.op_type == "Cast" and node.attributes["to"].as_int() == half:
            node.attributes["to"] = ir.AttrInt64("to", int(ir.DataType.FLOAT))
        constant = node.attributes["value"].as_tensor() if "value" in node.attributes else None
        if constant is not None and constant.dtype == half:
            floats32 = constant.numpy().astype(np.float32)
            node.attributes["value"] = ir.AttrTensor("value", ir.tensor(floats32, name=constant.name))
    if stored:
        builder.insert_before(nodes[0])
    return True


def _cast_value(value: ir.Value, dtype: ir.DataType) -> None:
    if value.dtype == ir.DataType.FLOAT:
        set_dtype(value, dtype)


def _cast_attributes(node: ir.Node, dtype: torch.dtype) -> None:
    """A Cast to float32 goes to ``dtype``, and so does a constant that a node holds."""
    if node.op_type == "Cast" and node.attributes["to"].as_int() == ir.DataType.FLOAT:
        node.attributes["to"] = ir.AttrInt64("to", int(from_torch_dtype(dtype)))
    constant = node.attributes["value"].as_tensor() if "value" in node.attributes else None
    if constant is not None and constant.dtype == ir.DataType.FLOAT:
        node.attributes["value"] = ir.AttrTensor("value", _cast_tensor(constant, dtype))


def _cast_tensor(tensor: ir.TensorProtocol, dtype: torch.dtype) -> ir.TensorProtocol:
    """Cast a tensor; what hides positions is beyond float16, where infinity times nothing would be NaN."""
    limit = torch.finfo(dtype).max
    return ir.tensor(torch.from_numpy(tensor.numpy().copy()).clamp(-limit, limit).to(dtype), name=tensor.name)
