"""Lowering for onnxruntime: how each weight form becomes nodes. One function a form."""

from __future__ import annotations

import torch
from onnx_ir import Value
from onnx_ir.tensor_adapters import from_torch_dtype
from torch import Tensor

from compress.errors import ExportError
from compress.export.lowering.block_packing import blocked
from compress.export.lowering.emitter import Emitter
from compress.weights.forms import Dense, Factored, Quantized, Residual, Weight, part_name

CONTRIB = "com.microsoft"
_INT8_ACTIVATIONS = 4  # MatMulNBits' accuracy_level; without it its 8-bit kernel is a hundred times slower
_SAFE_CODE = 64  # u8 × s8 sums two products in 16 bits on x86 without VNNI: larger codes would saturate
_TINY = 1e-30


def linear(emit: Emitter, name: str, weight: Weight, x: Value, bias: Value | None, shared: bool) -> Value:
    """``x @ weight.T + bias``; ``shared`` says that the weight is the embedding too."""
    match weight:
        case Dense():
            return _add(emit, name, dense(emit, name, weight, x, shared), bias)
        case Quantized(act="dynamic") if not shared:
            return dynamic(emit, name, weight, x, bias)
        case Quantized():
            return weight_only(emit, name, weight, x, bias)
        case Factored():
            return factored(emit, name, weight, x, bias)
        case Residual():
            correction = factored(emit, name, weight.correction, x, bias)
            return _add(emit, name, linear(emit, name, weight.base, x, None, shared), correction)


def factored(emit: Emitter, name: str, weight: Factored, x: Value, bias: Value | None) -> Value:
    """A product: two multiplications, the right factor's first, each in its factor's own form."""
    thin = linear(emit, part_name(name, "right"), weight.right, x, None, False)
    return linear(emit, part_name(name, "left"), weight.left, thin, bias, False)


def dense(emit: Emitter, name: str, weight: Dense, x: Value, shared: bool) -> Value:
    """A float matrix: MatMul with the weight transposed in the file, cast to what the graph is computed in."""
    if shared:
        table = as_computed(emit, emit.initializer(name, lambda: held(emit, weight.tensor)))
        return emit.node("MatMul", [x, emit.node("Transpose", [table], f"{name}.T", {"perm": [1, 0]})], f"{name}.out")
    stored = emit.initializer(f"{name}.T", lambda: held(emit, weight.tensor.T))
    return emit.node("MatMul", [x, as_computed(emit, stored)], f"{name}.out")


def weight_only(emit: Emitter, name: str, weight: Quantized, x: Value, bias: Value | None) -> Value:
    """Integers in blocks along the inputs: MatMulNBits, which rounds the inputs to 8 bits block by block."""
    packed = blocked(weight)
    rows, inputs = weight.shape
    zeros = packed.zero_points
    return emit.node(
        "MatMulNBits",
        [
            x,
            emit.initializer(f"{name}.codes", lambda: packed.codes, tuple(packed.codes.shape)),
            emit.initializer(f"{name}.scales", lambda: packed.scales.to(emit.dtype)),
            None if zeros is None else emit.initializer(f"{name}.zero_points", lambda: zeros),
            None,
            bias,
        ],
        f"{name}.out",
        {"K": inputs, "N": rows, "bits": weight.bits, "block_size": packed.block, "accuracy_level": _INT8_ACTIVATIONS},
        CONTRIB,
    )


def dynamic(emit: Emitter, name: str, weight: Quantized, x: Value, bias: Value | None, per_token: bool = True) -> Value:
    """Integers on both sides: DynamicQuantizeMatMul, whose one scale for all inputs ``per_token`` makes one a token.

    It does so by bringing every token's largest magnitude to 1 before and multiplying it back afterwards.
    """
    if weight.bits != 8 or not weight.per_channel or weight.zero_point is not None:
        raise ExportError(f"{name}: inputs can be quantized only with symmetric 8-bit weights, one scale a channel")
    if int(weight.codes.abs().max()) > _SAFE_CODE or int(weight.codes.min()) < -_SAFE_CODE:
        raise ExportError(f"{name}: codes beyond ±{_SAFE_CODE} would saturate where inputs are quantized too")
    zeros = torch.zeros(weight.shape[0], dtype=torch.int8)
    factors = [
        emit.initializer(f"{name}.codes.T", lambda: weight.codes.T),
        emit.initializer(f"{name}.scale", lambda: weight.scale.float().flatten()),
        emit.initializer(f"{name}.zero_point", lambda: zeros),
    ]
    if not per_token:
        return emit.node("DynamicQuantizeMatMul", [x, *factors, bias], f"{name}.out", domain=CONTRIB)
    axes = emit.constant("axis.last", torch.tensor([-1]))
    tiny = emit.constant("tiny", torch.tensor(_TINY))
    largest = emit.node("ReduceMax", [emit.node("Abs", [x], f"{name}.abs"), axes], f"{name}.amax")
    unit = emit.node("Max", [largest, tiny], f"{name}.unit")
    product = emit.node(
        "DynamicQuantizeMatMul", [emit.node("Div", [x, unit], f"{name}.in"), *factors], f"{name}.units", domain=CONTRIB
    )
    return _add(emit, name, emit.node("Mul", [product, unit], f"{name}.scaled"), bias)


def embedding(emit: Emitter, name: str, weight: Weight, ids: Value) -> Value:
    """Rows of a table: Gather, or GatherBlockQuantized on the very bytes that a tied head multiplies with."""
    match weight:
        case Dense():
            table = emit.initializer(name, lambda: held(emit, weight.tensor))
            rows_ = emit.node("Gather", [table, ids], f"{name}.rows", {"axis": 0})
            rows_.type = table.type
            return as_computed(emit, rows_)
        case Quantized():
            return looked_up(emit, name, weight, ids)
        case _:
            raise ExportError(f"{name}: ort-cpu can't hold {type(weight).__name__} embeddings")


def looked_up(emit: Emitter, name: str, weight: Quantized, ids: Value) -> Value:
    """Rows of integers: GatherBlockQuantized, whose packed bytes are MatMulNBits' with the blocks laid end to end."""
    packed = blocked(weight)
    (rows, inputs), blocks = weight.shape, packed.codes.shape[1]
    zeros = packed.zero_points
    found = emit.node(
        "GatherBlockQuantized",
        [
            emit.initializer(f"{name}.codes", lambda: packed.codes, (rows, packed.codes[0].numel())),
            ids,
            emit.initializer(f"{name}.scales", lambda: packed.scales.to(emit.dtype)),
            None if zeros is None else emit.initializer(f"{name}.zero_points", lambda: zeros),
        ],
        f"{name}.rows",
        {"bits": weight.bits, "block_size": packed.block, "gather_axis": 0, "quantize_axis": 1},
        CONTRIB,
    )
    if blocks * packed.block == inputs:
        return found
    ends = [emit.constant(f"slice.{at}", torch.tensor([at])) for at in (0, inputs, -1)]
    return emit.node("Slice", [found, *ends], f"{name}.cut")


def held(emit: Emitter, tensor: Tensor) -> Tensor:
    """A float matrix as the file holds it: as it is for a graph in float32, which may read halves; else in its type."""
    return tensor if emit.dtype == torch.float32 else tensor.to(emit.dtype)


def as_computed(emit: Emitter, stored: Value) -> Value:
    """Floats in the type of the graph: themselves, or a Cast of what is stored in another."""
    computed = from_torch_dtype(emit.dtype)
    return (
        stored
        if stored.dtype == computed
        else emit.node("Cast", [stored], f"{stored.name}.float", {"to": int(computed)})
    )


def _add(emit: Emitter, name: str, product: Value, bias: Value | None) -> Value:
    return product if bias is None else emit.node("Add", [product, bias], f"{name}.biased")
