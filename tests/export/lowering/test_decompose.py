"""Attention, rotations and norms in older operators, against onnxruntime's own of the same graph."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from compress.errors import ExportError
from compress.export.lowering.decompose import FLOAT32_SUFFIX, decompose
from compress.graph.builder import GraphBuilder
from tests.support.graphs import empty_graph, operators, output, run

FLOAT, BOOL = ir.DataType.FLOAT, ir.DataType.BOOL
BATCH, QUERIES, PAST, HEADS, SHARED, SIZE = 2, 3, 4, 4, 2, 8
RANDOM = np.random.default_rng(0)


def floats(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def same_decomposed(graph, **inputs):
    """The operators that a graph has afterwards; its outputs stay as they were."""
    expected = run(graph, **inputs)
    decompose(ir.Model(graph, ir_version=11))
    for before, after in zip(expected, run(graph, **inputs), strict=True):
        assert np.abs(after - before).max() < 1e-5
    return operators(graph)


@pytest.mark.parametrize("mask_type", [BOOL, FLOAT])
@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("cached", [True, False])
def test_attention(mask_type, causal, cached):
    """With heads that queries share, a mask or a bias, and old keys and values."""
    total = QUERIES + PAST * cached
    cache = {"past_k": floats(BATCH, SHARED, PAST, SIZE), "past_v": floats(BATCH, SHARED, PAST, SIZE)} if cached else {}
    mask = np.ones((BATCH, 1, QUERIES, total), bool)
    mask[0, :, :, 1] = False  # never all that a query sees
    inputs = {
        "q": floats(BATCH, QUERIES, HEADS * SIZE),
        "k": floats(BATCH, QUERIES, SHARED * SIZE),
        "v": floats(BATCH, QUERIES, SHARED * SIZE),
        "mask": mask if mask_type == BOOL else np.where(mask, floats(*mask.shape), np.float32(-1e9)),
        **cache,
    }
    graph = empty_graph(**{name: mask_type if name == "mask" else FLOAT for name in inputs})
    for value in graph.inputs:
        value.shape = ir.Shape(inputs[value.name].shape)
    builder = GraphBuilder(graph)
    attributes = {"q_num_heads": HEADS, "kv_num_heads": SHARED, "scale": 0.3, "is_causal": causal}
    values = builder.multi_op("Attention", *graph.inputs, outputs=3 if cached else 1, domain="", **attributes)
    for name, value in zip(("out", "present_k", "present_v"), values, strict=False):
        output(graph, value, name)
    builder.append()
    actual = same_decomposed(graph, **inputs)
    assert "Attention" not in actual
    assert ("Max" in actual) == (mask_type == FLOAT)
    assert [value.name for value in graph.outputs] == ["out", "present_k", "present_v"][: len(values)]


def test_one_causal_mask_serves_all_layers():
    graph = empty_graph(x=FLOAT, mask=BOOL)
    builder = GraphBuilder(graph)
    x, mask = graph.inputs
    for _ in range(3):
        x = builder.op("Attention", x, x, x, mask, q_num_heads=2, kv_num_heads=2, scale=1.0, is_causal=1)
    output(graph, x)
    builder.append()
    mask_of_all = np.ones((1, 1, 3, 3), bool)
    assert same_decomposed(graph, x=floats(1, 3, 8), mask=mask_of_all).count("Range") == 2


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("width", [0, SIZE // 2])
def test_rotations(width, interleaved):
    graph = empty_graph(x=FLOAT, cos=FLOAT, sin=FLOAT)
    builder = GraphBuilder(graph)
    attributes = {"num_heads": HEADS, "rotary_embedding_dim": width, "interleaved": interleaved}
    output(graph, builder.op("RotaryEmbedding", *graph.inputs, name=None, domain="", **attributes))
    builder.append()
    angles = floats(BATCH, QUERIES, (width or SIZE) // 2)
    actual = same_decomposed(graph, x=floats(BATCH, QUERIES, HEADS * SIZE), cos=np.cos(angles), sin=np.sin(angles))
    assert "RotaryEmbedding" not in actual


def test_scores_are_capped_before_they_are_masked():
    graph = empty_graph(q=FLOAT, k=FLOAT, v=FLOAT, mask=BOOL)
    builder = GraphBuilder(graph)
    output(graph, builder.op("Attention", *graph.inputs, q_num_heads=1, kv_num_heads=1, scale=2.0, softcap=3.0))
    builder.append()
    decompose(ir.Model(graph, ir_version=11))
    q, k, v = (10 * floats(1, 3, 4) for _ in range(3))
    scores = 3.0 * np.tanh(2.0 * q @ k.transpose(0, 2, 1) / 3.0)
    visible = np.tril(np.ones((1, 3, 3), bool))
    weights = np.exp(np.where(visible, scores, -np.inf))
    expected = weights / weights.sum(-1, keepdims=True) @ v
    (actual,) = run(graph, q=q, k=k, v=v, mask=visible[:, None])
    assert np.abs(actual - expected).max() < 1e-4


def test_norms_stay_in_float32_up_to_the_product():
    graph = empty_graph(x=FLOAT, weight=FLOAT)
    builder = GraphBuilder(graph)
    output(graph, builder.op("RMSNormalization", *graph.inputs, axis=-1, epsilon=1e-6))
    builder.append()
    same_decomposed(graph, x=floats(BATCH, QUERIES, SIZE), weight=floats(SIZE))
    exact = [node.op_type for node in graph if node.name.endswith(FLOAT32_SUFFIX)]
    assert exact == ["Cast", "Mul", "ReduceMean", "Add", "Sqrt", "Div"]
    assert operators(graph) == [*exact, "Cast", "Mul"]


@pytest.mark.parametrize(
    ("op_type", "attributes", "message"),
    [
        ("Attention", {"q_num_heads": 2, "kv_num_heads": 2}, "Attention has other inputs than any architecture here"),
    ],
)
def test_a_variety_that_no_architecture_has_is_refused(op_type, attributes, message):
    graph = empty_graph(x=FLOAT, y=FLOAT, z=FLOAT)
    builder = GraphBuilder(graph)
    output(graph, builder.op(op_type, *graph.inputs, name=None, domain="", **attributes))
    builder.append()
    with pytest.raises(ExportError, match=message):
        decompose(ir.Model(graph, ir_version=11))
