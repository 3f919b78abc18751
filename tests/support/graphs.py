"""ONNX graphs of a few nodes, made and run on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx_ir.tensor_adapters import from_torch_dtype

from compress.export.lowering.emitter import Emitter
from compress.export.lowering.external_data import ExternalData

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


def run_lowered(folder: Path, build: Callable[..., ir.Value], *inputs: torch.Tensor) -> tuple[torch.Tensor, ir.Graph]:
    """The output of what ``build(emitter, *inputs)`` adds to a graph, whose tensors lie in ``folder``; and the graph.

    The graph is computed in the first input's type if that is a float, else in float32. MatMulNBits doesn't round its
    inputs here.
    """
    dtype = inputs[0].dtype if inputs[0].is_floating_point() else torch.float32
    graph = empty_graph(**{f"x{i}": from_torch_dtype(tensor.dtype) for i, tensor in enumerate(inputs)})
    for value, tensor in zip(graph.inputs, inputs, strict=True):
        value.shape = ir.Shape(tensor.shape)
    with ExternalData(folder) as external:
        emitter = Emitter(graph, external, dtype)
        output(graph, build(emitter, *graph.inputs), dtype=from_torch_dtype(dtype))
        emitter.append()
    ir.save(ir.Model(graph, ir_version=11), folder / "model.onnx")
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_prepacking", "1")
    session = ort.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    (actual,) = session.run(None, {f"x{i}": tensor.numpy() for i, tensor in enumerate(inputs)})
    return torch.from_numpy(np.asarray(actual)), graph
