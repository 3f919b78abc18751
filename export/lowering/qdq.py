"""Lowering for strongly typed runtimes without operators of their own: integers by explicit DequantizeLinear.

A matrix lies transposed, ``[in, out]``. Integers are constant and symmetric, their scales of the graph's type: one a
column for 8 bits, one a block of inputs for 4 bits, two codes a byte with the first in the lower half.
Source: ONNX's DequantizeLinear (opset 21), and TensorRT 11's "Working with Quantized Types".
"""

from __future__ import annotations

import torch
from onnx_ir import Value
from torch import Tensor
from torch.nn.functional import pad

from compress.errors import ExportError
from compress.export.lowering.emitter import Emitter
from compress.export.lowering.pivoted import pivoted
from compress.weights.forms import Dense, Factored, Pivoted, Quantized, Residual, Weight, part_name
from compress.weights.stored import PER_CHANNEL, StoredForm


def linear(emit: Emitter, name: str, weight: Weight, x: Value, bias: Value | None, shared: bool) -> Value:
    """Multiply ``x @ weight.T + bias``; ``shared`` says that the weight is the embedding too."""
    match weight:
        case Pivoted():
            return pivoted(linear, emit, [name], [weight], x, bias)
        case Factored():
            thin = linear(emit, part_name(name, "right"), weight.right, x, None, False)
            return linear(emit, part_name(name, "left"), weight.left, thin, bias, False)
        case Residual():
            base = linear(emit, name, weight.base, x, bias, shared)
            return emit.op("Add", base, linear(emit, name, weight.correction, x, None, False), name=f"{name}.both")
        case Quantized():
            matrix = dequantized(emit, name, weight)
        case Dense() if shared:
            table = emit.initializer(name, lambda: weight.tensor.to(emit.dtype))
            matrix = emit.op("Transpose", table, name=f"{name}.T", perm=[1, 0])
        case Dense():
            matrix = emit.initializer(f"{name}.T", lambda: weight.tensor.T.to(emit.dtype))
    product = emit.op("MatMul", x, matrix, name=f"{name}.out")
    return product if bias is None else emit.op("Add", product, bias, name=f"{name}.biased")


def embedding(emit: Emitter, name: str, weight: Weight, ids: Value) -> Value:
    """Look up rows of a float table."""
    if not isinstance(weight, Dense):
        raise ExportError(f"{name}: tables are float here, not {type(weight).__name__}")
    table = emit.initializer(name, lambda: weight.tensor.to(emit.dtype))
    return emit.op("Gather", table, ids, name=f"{name}.rows", axis=0)


def dequantized(emit: Emitter, name: str, weight: Quantized) -> Value:
    """Dequantize constant integers to a matrix ``[in, out]``."""
    columns = weight.codes.T
    if weight.bits == 8:
        codes = emit.initializer(f"{name}.codes", columns.contiguous)
        scale = emit.initializer(f"{name}.scale", lambda: weight.scale.flatten().to(emit.dtype))
        return emit.op("DequantizeLinear", codes, scale, name=f"{name}.float", axis=1)
    codes = emit.int4_initializer(f"{name}.codes", lambda: nibbles(columns), tuple(columns.shape))
    scale = emit.initializer(f"{name}.scale", lambda: weight.scale.T.to(emit.dtype).contiguous())
    return emit.op("DequantizeLinear", codes, scale, name=f"{name}.float", axis=0, block_size=weight.group)


def unsupported_reason(name: str, form: StoredForm, is_embedding: bool) -> str | None:
    """Say why DequantizeLinear can't hold the matrix ``name``, and the option that fixes it; None where it can."""
    for leaf in form.leaves:
        if leaf.form == "dense":
            continue
        if is_embedding:
            return f"embeddings in integers ({name}); give embed=float, and head=float where the head is tied to it"
        if not leaf.symmetric:
            return f"zero points ({name}); give symmetry=sym"
        if leaf.bits == 8 and leaf.group not in (PER_CHANNEL, leaf.shape[1]):
            return f"8 bits in groups ({name}); give group=channel, and head=float"
    return None


def nibbles(codes: Tensor) -> Tensor:
    """Pack signed 4-bit codes two in a byte, the first in the lower half: uint8 ``[⌈n / 2⌉]``."""
    flat = codes.reshape(-1)
    low, high = pad(flat, (0, flat.numel() % 2)).view(torch.uint8).unflatten(0, (-1, 2)).unbind(1)
    packed: Tensor = (low & 0xF) | (high << 4)
    return packed
