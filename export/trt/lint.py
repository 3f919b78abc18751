"""Check a graph for what TensorRT would refuse, without TensorRT.

Sources: onnx-tensorrt's ``docs/operators.md`` (opsets up to 20, and blocks of 4 bits), TensorRT 11's "Working with
Quantized Types".
"""

from __future__ import annotations

import onnx_ir as ir

from compress.errors import ExportError
from compress.graph.builder import required

OPERATORS = frozenset({
    "Abs", "Add", "And", "ArgMax", "Cast", "Ceil", "Clip", "Concat", "Constant", "ConstantOfShape", "Cos", "CumSum",
    "DequantizeLinear", "Div", "Elu", "Equal", "Erf", "Exp", "Expand", "Flatten", "Floor", "Gather", "GatherElements",
    "GatherND", "Gelu", "Gemm", "Greater", "GreaterOrEqual", "Identity", "LayerNormalization", "LeakyRelu", "Less",
    "LessOrEqual", "Log", "MatMul", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pad", "Pow",
    "QuantizeLinear", "Range", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Relu", "Reshape",
    "Shape", "Sigmoid", "Sign", "Sin", "Slice", "Softmax", "Softplus", "Softsign", "Split", "Sqrt", "Squeeze",
    "Sub", "Sum", "Tanh", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where",
})  # fmt: skip
"""Standard operators that its parser has."""
_TYPES = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_OPSET = 21


def lint_graph(model: ir.Model, dtype: ir.DataType) -> None:
    """Raise an ExportError for the first thing that TensorRT would refuse of a graph that is computed in ``dtype``."""
    if model.opset_imports.keys() - {"", "ai.onnx"} or model.opset_imports[""] > _OPSET:
        raise ExportError(f"TensorRT reads standard operators up to opset {_OPSET}, not {dict(model.opset_imports)}")
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value.dtype in _TYPES and value.dtype != dtype:
            raise ExportError(f"{value.name} is {value.dtype}, in a graph of {dtype}")
    for node in model.graph:
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
            raise ExportError(f"TensorRT has no operator {node.domain}::{node.op_type} ({node.name})")
        if node.op_type == "DequantizeLinear":
            _lint_integers(node, dtype)


def _lint_integers(node: ir.Node, dtype: ir.DataType) -> None:
    codes, scale, *zero = node.inputs
    where = f"DequantizeLinear {node.name}"
    codes, scale = required(codes), required(scale)
    if codes.const_value is None or scale.const_value is None:
        raise ExportError(f"{where}: integers and scales have to be constant")
    if codes.dtype not in (ir.DataType.INT8, ir.DataType.INT4):
        raise ExportError(f"{where}: integers of 8 or 4 bits with a sign are needed, not {codes.dtype}")
    if scale.dtype != dtype:
        raise ExportError(f"{where}: its scale is {scale.dtype}, in a graph of {dtype}")
    if zero and zero[0] is not None and (zero[0].const_value is None or zero[0].const_value.numpy().any()):
        raise ExportError(f"{where}: its zero point has to be 0")
    block, axis = node.attributes.get_int("block_size", 0), node.attributes.get_int("axis", 1)
    size, scales = codes.const_value.shape.numpy(), scale.const_value.shape.numpy()
    if codes.dtype == ir.DataType.INT4 and not block:
        raise ExportError(f"{where}: 4 bits come in blocks")
    if block and size[axis] % block:
        raise ExportError(f"{where}: blocks of {block} don't divide the {size[axis]} inputs")
    if block and scales[axis] != size[axis] // block:
        raise ExportError(f"{where}: {scales[axis]} scales for {size[axis] // block} blocks")
