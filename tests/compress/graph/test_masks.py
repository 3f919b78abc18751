"""Masks and biases in graphs, against the same in NumPy."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from compress.graph.builder import GraphBuilder
from compress.graph.masks import (
    MASKED,
    attention_mask,
    bucketed_bias,
    causal_mask,
    expand_to_queries,
    padding_bias,
    window_mask,
)
from tests.support.graphs import empty_graph, output, run

MASK = np.array([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]])
IDS = np.zeros((2, 4), np.int64)
"""Four queries, the last of six keys."""
AHEAD = np.arange(6)[None] - np.arange(2, 6)[:, None]
"""How far each key lies ahead of each query."""


def graph_of(make, dtype):
    """A graph of one mask, made by ``make(builder, mask, ids)``."""
    graph = empty_graph(mask=ir.DataType.INT64, ids=ir.DataType.INT64)
    builder = GraphBuilder(graph)
    output(graph, make(builder, *graph.inputs), dtype=dtype)
    builder.append()
    return graph


def test_padding_is_hidden_from_every_query():
    (output,) = run(graph_of(attention_mask, ir.DataType.BOOL), mask=MASK, ids=IDS)
    assert np.array_equal(output, np.broadcast_to(MASK.astype(bool)[:, None, None], (2, 1, 4, 6)))


def test_as_a_bias_padding_is_finite_and_far_below_any_score():
    make = lambda builder, mask, ids: expand_to_queries(builder, padding_bias(builder, mask), ids)  # noqa: E731
    (output,) = run(graph_of(make, ir.DataType.FLOAT), mask=MASK, ids=IDS)
    assert output.shape == (2, 1, 4, 6)
    assert set(output[0, 0, 0, :2]) == {np.float32(MASKED)}
    assert not output[0, 0, 0, 2:].any()
    assert not output[1].any()


@pytest.mark.parametrize("window", [1, 3, 9])
def test_a_window_keeps_the_keys_less_than_so_many_behind(window):
    make = lambda builder, mask, ids: window_mask(builder, attention_mask(builder, mask, ids), window)  # noqa: E731
    (output,) = run(graph_of(make, ir.DataType.BOOL), mask=MASK, ids=IDS)
    assert np.array_equal(output, AHEAD + window > 0)


def test_a_causal_mask_hides_what_lies_ahead():
    make = lambda builder, mask, ids: causal_mask(builder, attention_mask(builder, mask, ids))  # noqa: E731
    (output,) = run(graph_of(make, ir.DataType.BOOL), mask=MASK, ids=IDS)
    assert np.array_equal(output, AHEAD <= 0)


def test_biases_by_distance_are_rows_of_their_buckets():
    table, buckets = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32), np.array([2, 0, 1, 1])
    index = np.array([[0, 1, 2], [3, 0, 1]])
    graph = empty_graph(index=ir.DataType.INT64)
    builder = GraphBuilder(graph)
    output(graph, bucketed_bias(builder, builder.constant(table, "table"), buckets, graph.inputs[0]))
    builder.append()
    (actual,) = run(graph, index=index)
    assert np.array_equal(actual[0], table[buckets[index]].transpose(2, 0, 1))
