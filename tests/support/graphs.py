"""ONNX graphs of a few nodes, made and run on the spot."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
_OPSETS = {"": 23, "com.microsoft": 1}


def empty_graph(**inputs: ir.DataType) -> ir.Graph:
    """A graph without nodes that has those inputs, their shapes left open."""
    values = [ir.Value(name=name, type=ir.TensorType(dtype)) for name, dtype in inputs.items()]
    return ir.Graph(values, [], nodes=[], opset_imports=_OPSETS, name="graph")


def output(graph: ir.Graph, value: ir.Value, name: str = "out", dtype: ir.DataType = ir.DataType.FLOAT) -> None:
    """Make a value an output of a graph."""
    value.name, value.type = name, ir.TensorType(dtype)
    graph.outputs.append(value)


def run(graph: ir.Graph, **inputs: NDArray[Any]) -> list[NDArray[Any]]:
    """A graph's outputs on onnxruntime, unoptimized."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    proto = ir.to_proto(ir.Model(graph, ir_version=11))
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(array) for array in session.run(None, inputs)]


def operators(graph: ir.Graph) -> list[str]:
    """The types of a graph's nodes, in order."""
    return [node.op_type for node in graph]
