"""A float32 graph as one that is computed in 16 bits: strongly typed, with nothing left for the runtime to choose."""

from __future__ import annotations

import onnx_ir as ir
import torch
from onnx_ir.tensor_adapters import from_torch_dtype

from compress.export.lowering.decompose import FLOAT32_SUFFIX
from compress.onnx_names import BIT_WIDTH, SCALES


def cast_graph(model: ir.Model, dtype: torch.dtype) -> None:
    """Compute in ``dtype`` what was float32, inputs and outputs included, but for what is named to be exact.

    The scales of an int8 cache stay float32, which its operator wants.
    """
    wanted = from_torch_dtype(dtype)
    if wanted == ir.DataType.FLOAT:
        return
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value.dtype == ir.DataType.FLOAT:
            value.dtype = wanted
    scales = {value for node in model.graph if BIT_WIDTH in node.attributes for value in node.inputs[SCALES[0] :]}
    for name, value in model.graph.initializers.items():
        if value in scales:
            continue
        if value.dtype == ir.DataType.FLOAT and value.const_value is not None and not name.endswith(FLOAT32_SUFFIX):
            value.const_value = _typed(value.const_value, dtype)
            value.dtype = wanted
    outputs = set(model.graph.outputs)
    for node in model.graph:
        if str(node.name).endswith(FLOAT32_SUFFIX):
            continue
        if node.op_type == "Cast" and node.attributes["to"].as_int() == ir.DataType.FLOAT:
            node.attributes["to"] = ir.AttrInt64("to", int(wanted))
        constant = node.attributes["value"].as_tensor() if "value" in node.attributes else None
        if constant is not None and constant.dtype == ir.DataType.FLOAT:
            node.attributes["value"] = ir.AttrTensor("value", _typed(constant, dtype))
        for value in node.outputs:
            if value not in outputs and value.dtype == ir.DataType.FLOAT:
                value.dtype = wanted


def _typed(tensor: ir.TensorProtocol, dtype: torch.dtype) -> ir.TensorProtocol:
    """In another type; what hides positions is beyond float16, where infinity times nothing would be NaN."""
    reach = torch.finfo(dtype).max
    return ir.tensor(torch.from_numpy(tensor.numpy().copy()).clamp(-reach, reach).to(dtype), name=tensor.name)
