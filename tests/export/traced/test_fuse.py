"""Attention with a cache in a traced graph, as onnxruntime's GroupQueryAttention."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from compress.export.traced.fuse import fuse_operators
from compress.graph.builder import GraphBuilder
from compress.graph.masks import attention_mask
from tests.support.graphs import empty_graph, operators, output, run

FLOAT, INT64 = ir.DataType.FLOAT, ir.DataType.INT64
BATCH, NEW, PAST, HEADS, SHARED, SIZE = 2, 1, 4, 4, 2, 16


def decoder(layers=2, rotated=False):
    """A graph of attention alone, whose layers read the same queries, keys and values."""
    sizes = {"q": HEADS * SIZE, "k": SHARED * SIZE, "v": SHARED * SIZE}
    caches = [f"past_key_values.{i}.{part}" for i in range(layers) for part in ("key", "value")]
    graph = empty_graph(
        input_ids=INT64, attention_mask=INT64, position_ids=INT64, **dict.fromkeys((*sizes, *caches), FLOAT)
    )
    ids, mask, positions, q, k, v, *past = graph.inputs
    for value, size in zip((q, k, v), sizes.values(), strict=True):
        value.shape = ir.Shape(["batch", "s", size])
    for value in past:
        value.shape = ir.Shape(["batch", SHARED, "past", SIZE])
    builder = GraphBuilder(graph)
    visible = attention_mask(builder, mask, ids)
    if rotated:
        angles = np.arange(16)[:, None] * np.ones((1, SIZE // 2))
        tables = [builder.constant(f(angles).astype(np.float32), f.__name__) for f in (np.cos, np.sin)]
        rows = [builder.op("Gather", table, positions, axis=0) for table in tables]
        q, k = (
            builder.op("RotaryEmbedding", value, *rows, num_heads=count) for value, count in ((q, HEADS), (k, SHARED))
        )
    for i in range(layers):
        inputs = [q, k, v, visible, *past[2 * i : 2 * i + 2]]
        outputs = builder.multi_op(
            "Attention", *inputs, outputs=3, q_num_heads=HEADS, kv_num_heads=SHARED, scale=0.5, is_causal=1
        )
        for name, value in zip((f"out.{i}", f"present.{i}.key", f"present.{i}.value"), outputs, strict=True):
            output(graph, value, name)
    builder.append()
    return graph


def inputs_of(graph):
    """Random numbers for every input; the second text has a token less, padded on the left."""
    random = np.random.default_rng(0)
    fixed = {"batch": BATCH, "s": NEW, "past": PAST}
    mask = np.ones((BATCH, PAST + NEW), np.int64)
    mask[1, 0] = 0
    feed = {"input_ids": np.ones((BATCH, NEW), np.int64), "attention_mask": mask}
    feed["position_ids"] = np.arange(PAST, PAST + NEW)[None].repeat(BATCH, 0)
    for value in graph.inputs:
        if value.name not in feed:
            shape = [size if isinstance(size, int) else fixed[str(size)] for size in value.shape]
            feed[value.name] = random.normal(size=shape).astype(np.float32)
    return {value.name: feed[value.name] for value in graph.inputs}


@pytest.mark.parametrize("rotated", [True, False])
def test_attention_with_a_cache_is_grouped_to_the_same_numbers(rotated):
    graph = decoder(rotated=rotated)
    names = [value.name for value in graph.outputs]
    expected = dict(zip(names, run(graph, **inputs_of(graph)), strict=True))
    model = ir.Model(graph, ir_version=11)
    fuse_operators(model)
    op_types = operators(graph)
    assert (op_types.count("GroupQueryAttention"), op_types.count("Attention")) == (2, 0)
    assert "RotaryEmbedding" not in op_types
    assert op_types.count("Where") == 1  # one bias for all layers
    assert model.opset_imports["com.microsoft"] == 1
    assert [value.name for value in graph.outputs] == names
    actual = dict(zip(names, run(graph, **inputs_of(graph)), strict=True))
    for name in names:
        assert np.abs(actual[name] - expected[name]).max() < 1e-5, name


def test_positions_that_nothing_reads_any_more_are_no_input():
    graph = decoder(rotated=True)
    fuse_operators(ir.Model(graph, ir_version=11))
    assert "position_ids" not in [value.name for value in graph.inputs]


def test_attention_without_a_cache_stays_as_it_is():
    graph = empty_graph(x=FLOAT)
    builder = GraphBuilder(graph)
    x = graph.inputs[0]
    output(graph, builder.op("Attention", x, x, x, q_num_heads=2, kv_num_heads=2))
    builder.append()
    model = ir.Model(graph, ir_version=11)
    fuse_operators(model)
    assert operators(graph) == ["Attention"]
