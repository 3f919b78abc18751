"""Attention as GroupQueryAttention: what is rotated inside, what before it, and what stays as it is."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass

from compress.graph.builder import GraphBuilder
from compress.graph.grouped_attention import group_attention
from compress.graph.masks import attention_mask
from tests.support.graphs import empty_graph, operators, output, run

FLOAT, INT64 = ir.DataType.FLOAT, ir.DataType.INT64
NEW, PAST, HEADS, LONGEST = 3, 5, 2, 32


def decoder(size, width, shifted=False, interleaved=0):
    """One attention, whose queries and keys are rotated; ``shifted`` looks their angles up where they aren't."""
    graph = empty_graph(
        input_ids=INT64, attention_mask=INT64, position_ids=INT64, q=FLOAT, k=FLOAT, v=FLOAT, past_k=FLOAT, past_v=FLOAT
    )
    ids, mask, positions, q, k, v, *past = graph.inputs
    for value in past:
        value.shape = ir.Shape([1, HEADS, "past", size])
    builder = GraphBuilder(graph)
    angles = np.outer(np.arange(LONGEST), 1.0 / (1 + np.arange(width // 2)))
    tables = [builder.constant(f(angles).astype(np.float32), f.__name__) for f in (np.cos, np.sin)]
    at = builder.op("Add", positions, builder.constant(7)) if shifted else positions
    rows = [builder.op("Gather", table, at, axis=0) for table in tables]
    attributes = {"num_heads": HEADS, "rotary_embedding_dim": width if width < size else 0, "interleaved": interleaved}
    q, k = (builder.op("RotaryEmbedding", value, *rows, **attributes) for value in (q, k))
    inputs = [q, k, v, attention_mask(builder, mask, ids), *past]
    outputs = builder.multi_op(
        "Attention", *inputs, outputs=3, q_num_heads=HEADS, kv_num_heads=HEADS, scale=0.5, is_causal=1
    )
    for name, value in zip(("out", "key", "value"), outputs, strict=True):
        output(graph, value, name)
    builder.append()
    return graph


def inputs_of(size):
    random = np.random.default_rng(0)
    states = {name: random.normal(size=(1, NEW, HEADS * size)).astype(np.float32) for name in "qkv"}
    past = {name: random.normal(size=(1, HEADS, PAST, size)).astype(np.float32) for name in ("past_k", "past_v")}
    mask, positions = np.ones((1, PAST + NEW), np.int64), np.arange(PAST, PAST + NEW)[None]
    return {"input_ids": positions, "attention_mask": mask, "position_ids": positions, **states, **past}


@pytest.mark.parametrize(("size", "width", "options", "rotary", "grouped"), [
    (64, 64, {}, 0, 1),
    (64, 32, {}, 0, 1),
    (64, 32, {"interleaved": 1}, 0, 1),
    (64, 32, {"shifted": True}, 2, 1),  # angles of another position than the operator would take
    (96, 24, {}, 2, 1),
    (80, 20, {}, 2, 1),
    (120, 120, {}, 2, 1),
    (8, 8, {}, 2, 1),
    (20, 20, {}, 2, 0),
    (4, 4, {}, 2, 0),
])  # fmt: skip
def test_only_what_the_operator_takes_is_left_to_it(size, width, options, rotary, grouped):
    graph = decoder(size, width, **options)
    expected = run(graph, **inputs_of(size))
    group_attention(graph, "test")
    RemoveUnusedNodesPass()(ir.Model(graph, ir_version=11))
    op_types = operators(graph)
    assert (op_types.count("RotaryEmbedding"), op_types.count("GroupQueryAttention")) == (rotary, grouped)
    assert op_types.count("Attention") == 1 - grouped
    names = {value.name for value in graph.inputs}
    actual = run(graph, **{name: array for name, array in inputs_of(size).items() if name in names})
    for first, second in zip(actual, expected, strict=True):
        assert np.abs(first - second).max() < 1e-5
