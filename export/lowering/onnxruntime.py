"""Lowering for onnxruntime: how each weight form becomes nodes. One function a form."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from onnx_ir import DataType, Value
from torch import Tensor

from compress.errors import ExportError
from compress.export.lowering.block_packing import Blocked, blocked
from compress.export.lowering.emitter import Emitter
from compress.export.lowering.pivoted import pivoted
from compress.export.lowering.three_quarters import joined
from compress.graph.builder import required
from compress.onnx_names import CONTRIB_DOMAIN
from compress.weights.forms import Dense, Factored, Pivoted, Quantized, Residual, Weight, part_name

_INT8_ACTIVATIONS = 4  # MatMulNBits' accuracy_level; without it its 8-bit kernel is a hundred times slower
_SAFE_CODE = 64  # u8 × s8 sums two products in 16 bits on x86 without VNNI: larger codes would saturate
_TINY = 1e-30


def linear(emit: Emitter, name: str, weight: Weight, x: Value, bias: Value | None, shared: bool) -> Value:
    """Multiply ``x @ weight.T + bias``; ``shared`` says that the weight is the embedding too."""
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
    """Multiply by a low-rank product: the right factor first, then the left, each in its own form."""
    if isinstance(weight, Pivoted):
        return pivoted(linear, emit, [name], [weight], x, bias)
    thin = linear(emit, part_name(name, "right"), weight.right, x, None, False)
    return linear(emit, part_name(name, "left"), weight.left, thin, bias, False)


def dense(emit: Emitter, name: str, weight: Dense, x: Value, shared: bool) -> Value:
    """Multiply by a float matrix: MatMul, its weight transposed in the file, cast to what the graph is computed in."""
    if shared:
        table = emit.to_graph_dtype(emit.initializer(name, lambda: to_file_dtype(emit, weight.tensor)))
        return emit.op("MatMul", x, emit.op("Transpose", table, name=f"{name}.T", perm=[1, 0]), name=f"{name}.out")
    stored = emit.initializer(f"{name}.T", lambda: to_file_dtype(emit, weight.tensor.T))
    return emit.op("MatMul", x, emit.to_graph_dtype(stored), name=f"{name}.out")


def weight_only(emit: Emitter, name: str, weight: Quantized, x: Value, bias: Value | None) -> Value:
    """Multiply by integers in blocks along the inputs: MatMulNBits, which rounds inputs to 8 bits block by block."""
    packed = blocked(weight)
    rows, inputs = weight.shape
    return emit.op(
        "MatMulNBits",
        x,
        _codes(emit, name, packed, packed.codes.shape),
        *_grid(emit, name, packed),
        None,
        bias,
        name=f"{name}.out",
        domain=CONTRIB_DOMAIN,
        K=inputs,
        N=rows,
        bits=packed.bits,
        block_size=packed.block,
        accuracy_level=_INT8_ACTIVATIONS,
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
    matrix = [
        emit.initializer(f"{name}.codes.T", lambda: weight.codes.T),
        emit.initializer(f"{name}.scale", lambda: weight.scale.float().flatten()),
        emit.initializer(f"{name}.zero_point", lambda: zeros),
    ]
    if not per_token:
        return emit.op("DynamicQuantizeMatMul", x, *matrix, bias, name=f"{name}.out", domain=CONTRIB_DOMAIN)
    axes, tiny = emit.constant([-1], "axis.last"), emit.constant(_TINY, "tiny")
    largest = emit.op("ReduceMax", emit.op("Abs", x, name=f"{name}.abs"), axes, name=f"{name}.amax")
    unit = emit.op("Max", largest, tiny, name=f"{name}.unit")
    inputs = emit.op("Div", x, unit, name=f"{name}.in")
    product = emit.op("DynamicQuantizeMatMul", inputs, *matrix, name=f"{name}.units", domain=CONTRIB_DOMAIN)
    return _add(emit, name, emit.op("Mul", product, unit, name=f"{name}.scaled"), bias)


def embedding(emit: Emitter, name: str, weight: Weight, ids: Value) -> Value:
    """Look up rows of a table: Gather, or GatherBlockQuantized on the very bytes of a tied head."""
    match weight:
        case Dense():
            table = emit.initializer(name, lambda: to_file_dtype(emit, weight.tensor))
            rows = emit.op("Gather", table, ids, name=f"{name}.rows", axis=0)
            rows.type = table.type
            return emit.to_graph_dtype(rows)
        case Quantized():
            return gather_quantized(emit, name, weight, ids)
        case _:
            raise ExportError(f"{name}: ort-cpu can't hold {type(weight).__name__} embeddings")


def gather_quantized(emit: Emitter, name: str, weight: Quantized, ids: Value) -> Value:
    """Rows of integers: GatherBlockQuantized, whose packed bytes are MatMulNBits' with the blocks laid end to end."""
    packed = blocked(weight)
    (rows, inputs), blocks = weight.shape, packed.codes.shape[1]
    gathered = emit.op(
        "GatherBlockQuantized",
        _codes(emit, name, packed, (rows, packed.codes[0].numel())),
        ids,
        *_grid(emit, name, packed),
        name=f"{name}.rows",
        domain=CONTRIB_DOMAIN,
        bits=packed.bits,
        block_size=packed.block,
        gather_axis=0,
        quantize_axis=1,
    )
    if blocks * packed.block == inputs:
        return gathered
    ends = [emit.constant([index], f"slice.{index}") for index in (0, inputs, -1)]
    return emit.op("Slice", gathered, *ends, name=f"{name}.cut")


def to_file_dtype(emit: Emitter, tensor: Tensor) -> Tensor:
    """Floats as the file holds them: as they are for a graph in float32, which may read halves; else in its type."""
    return tensor if emit.dtype == torch.float32 else tensor.to(emit.dtype)


def _codes(emit: Emitter, name: str, packed: Blocked, shape: Sequence[int]) -> Value:
    """The codes of a matrix in blocks, as bytes of a shape: as they lie in the file, or joined as that is loaded."""
    if packed.unit == 1:
        return emit.initializer(f"{name}.codes", lambda: packed.codes, tuple(shape))
    codes = joined(emit, f"{name}.codes", packed.codes, packed.bits)
    if len(shape) == packed.codes.ndim:
        return codes
    rows = f"{name}.codes.rows"
    reshape = partial(emit.op, "Reshape", codes, emit.constant(shape), name=rows)
    return emit.once_loaded(rows, reshape, DataType.UINT8, shape)


def _grid(emit: Emitter, name: str, packed: Blocked) -> tuple[Value, Value | None]:
    """The scales of a matrix in blocks, and its zero points where it has some."""
    scales = emit.to_graph_dtype(emit.initializer(f"{name}.scales", lambda: to_file_dtype(emit, packed.scales)))
    if packed.unit != 1:
        scaled = partial(emit.op, "Mul", scales, emit.constant(packed.unit), name=f"{name}.steps")
        scales = emit.once_loaded(f"{name}.steps", scaled, required(scales.dtype), scales.shape)
    zeros = packed.zero_points
    return scales, None if zeros is None else emit.initializer(f"{name}.zero_points", lambda: zeros)


def _add(emit: Emitter, name: str, product: Value, bias: Value | None) -> Value:
    return product if bias is None else emit.op("Add", product, bias, name=f"{name}.biased")
