"""Norms, rotations, products and turned heads, found in graphs as torch's exporter writes them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from compress.export.traced.patterns import match_patterns
from compress.graph.builder import GraphBuilder
from tests.support.graphs import empty_graph, operators, output, run

FLOAT = ir.DataType.FLOAT
RANDOM = np.random.default_rng(0)


def floats(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def matched(graph, **inputs):
    """The operators that a graph has afterwards; its output stays as it was."""
    (expected,) = run(graph, **inputs)
    match_patterns(ir.Model(graph, ir_version=11))
    (actual,) = run(graph, **inputs)
    assert np.abs(actual - expected).max() < 1e-5
    return operators(graph)


def norm(builder, x, weight, power=2.0, axes=(-1,), weight_first=False):
    """x / √(mean x² + ε) · weight as transformers writes it."""
    square = builder.op("Pow", x, builder.constant(power))
    mean = builder.op("ReduceMean", square, builder.constant(list(axes)), keepdims=1)
    root = builder.op("Sqrt", builder.op("Add", mean, builder.constant(1e-5)))
    unit = builder.op("Mul", x, builder.op("Reciprocal", root))
    return builder.op("Mul", weight, unit) if weight_first else builder.op("Mul", unit, weight)


@pytest.mark.parametrize(
    ("options", "matches"),
    [
        ({}, True),
        ({"weight_first": True}, True),
        ({"power": 4.0}, False),
        ({"axes": (-1, -2)}, False),
    ],
)
def test_a_norm_of_root_mean_squares_is_one_operator(options, matches):
    graph = empty_graph(x=FLOAT)
    builder = GraphBuilder(graph)
    weight = builder.constant(floats(8), "weight")
    output(graph, norm(builder, graph.inputs[0], weight, **options))
    builder.append()
    after = matched(graph, x=floats(2, 3, 8))
    assert (after == ["RMSNormalization"]) is matches
    if matches:
        assert next(iter(graph)).attributes["epsilon"].as_float() == pytest.approx(1e-5)


def rotation(builder, x, cos, sin, half):
    """x · cos + (-x₂, x₁) · sin for heads ``[b, heads, s, 2 * half]``."""
    middle, end, axis = builder.constant([half]), builder.constant([2**63 - 1]), builder.constant([-1])
    first = builder.op("Slice", x, builder.constant([0]), middle, axis)
    second = builder.op("Slice", x, middle, end, axis)
    swapped = builder.op("Concat", builder.op("Neg", second), first, axis=-1)
    cos, sin = (builder.op("Unsqueeze", table, builder.constant([1])) for table in (cos, sin))
    return builder.op("Add", builder.op("Mul", x, cos), builder.op("Mul", swapped, sin))


@pytest.mark.parametrize(("size", "matches"), [(8, True), (6, False)])
def test_a_rotation_of_halves_is_one_operator(size, matches):
    """And one that splits heads elsewhere isn't taken for it."""
    graph = empty_graph(x=FLOAT, cos=FLOAT, sin=FLOAT)
    builder = GraphBuilder(graph)
    x, cos, sin = graph.inputs
    x.shape, cos.shape, sin.shape = ir.Shape([2, 4, 3, 8]), ir.Shape([2, 3, 8]), ir.Shape([2, 3, 8])
    output(graph, rotation(builder, x, cos, sin, size // 2))
    builder.append()
    angles = np.tile(floats(2, 3, 4), 2)
    after = matched(graph, x=floats(2, 4, 3, 8), cos=np.cos(angles), sin=np.sin(angles)) if matches else None
    if not matches:
        match_patterns(ir.Model(graph, ir_version=11))
        after = operators(graph)
    assert ("RotaryEmbedding" in after) is matches


@pytest.mark.parametrize("bias", [True, False])
def test_a_gemm_is_a_product_of_a_transposed_weight(bias):
    graph = empty_graph(x=FLOAT)
    builder = GraphBuilder(graph)
    inputs = [graph.inputs[0], builder.constant(floats(4, 8), "weight")]
    output(graph, builder.op("Gemm", *inputs, *([builder.constant(floats(4), "bias")] if bias else []), transB=1))
    builder.append()
    assert matched(graph, x=floats(3, 8)) == ["Transpose", "MatMul", *["Add"] * bias]


def test_a_scaled_gemm_stays_as_it_is():
    graph = empty_graph(x=FLOAT)
    builder = GraphBuilder(graph)
    output(graph, builder.op("Gemm", graph.inputs[0], builder.constant(floats(4, 8), "weight"), transB=1, alpha=0.5))
    builder.append()
    assert matched(graph, x=floats(3, 8)) == ["Gemm"]


@pytest.mark.parametrize("rotated", [True, False])
def test_attention_takes_heads_that_were_never_turned(rotated):
    """Queries, keys and values come as ``[b, s, heads · size]``, rotated or not; and so does what attention gives."""
    heads, size = 2, 8
    width = heads * size
    graph = empty_graph(x=FLOAT, cos=FLOAT, sin=FLOAT)
    builder = GraphBuilder(graph)
    x, cos, sin = graph.inputs
    x.shape, cos.shape, sin.shape = ir.Shape([2, 3, width]), ir.Shape([2, 3, size // 2]), ir.Shape([2, 3, size // 2])
    flat = []
    for _ in range(3):
        by_head = builder.op("Reshape", builder.op("Add", x, x), builder.constant([0, 0, heads, size]))
        by_head.shape = ir.Shape([2, 3, heads, size])
        by_token = builder.op("Transpose", by_head, perm=[0, 2, 1, 3])
        if rotated:
            by_token = builder.op("RotaryEmbedding", by_token, cos, sin)
        back = builder.op("Transpose", by_token, perm=[0, 2, 1, 3])
        flat.append(builder.op("Reshape", back, builder.constant([0, 0, width])))
        flat[-1].shape, flat[-1].type = ir.Shape([2, 3, width]), ir.TensorType(FLOAT)
    out = builder.op("Attention", *flat, q_num_heads=heads, kv_num_heads=heads, scale=1.0)
    output(graph, builder.op("Neg", out))
    builder.append()
    angles = floats(2, 3, size // 2)
    after = matched(graph, x=floats(2, 3, width), cos=np.cos(angles), sin=np.sin(angles))
    assert "Transpose" not in after
    assert after.count("RotaryEmbedding") == 3 * rotated
