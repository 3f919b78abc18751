"""Attention masks and score biases in ONNX graphs, each written once for every graph source."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compress.graph.builder import GraphBuilder

MASKED = -1e9
"""The score of a key that is not to be seen. Finite: a query that is padding sees no key, and a softmax over -inf is
NaN."""
MASKED_IN_HALVES = -6e4
"""The same in graphs that are computed in 16 bits: float16 reaches 65504."""


def attention_mask(builder: GraphBuilder, mask: ir.Value, ids: ir.Value) -> ir.Value:
    """Mask of keys for every query: ``mask`` int64 ``[b, t]`` as bool ``[b, 1, s, t]`` for ``ids`` ``[b, s]``."""
    return expand_to_queries(builder, builder.op("Cast", mask, to=int(ir.DataType.BOOL)), ids)


def expand_to_queries(builder: GraphBuilder, keys: ir.Value, ids: ir.Value) -> ir.Value:
    """Expand a value of each key, ``[b, t]``, to every query, ``[b, 1, s, t]``: onnxruntime doesn't broadcast it."""
    wide = builder.op("Unsqueeze", keys, builder.constant([1, 2]))
    length = builder.dim(ids, 1)
    sizes = builder.op("Concat", builder.constant([1, 1]), length, builder.constant([1]), axis=0)
    return builder.op("Expand", wide, sizes)


def padding_bias(builder: GraphBuilder, mask: ir.Value) -> ir.Value:
    """Padding bias, added to scores, float ``[b, t]``: 0 where ``mask`` int64 ``[b, t]`` is text, else `MASKED`."""
    text = builder.op("Cast", mask, to=int(ir.DataType.FLOAT))
    padding = builder.op("Sub", text, builder.constant(1.0))
    return builder.op("Mul", padding, builder.constant(-MASKED))


def window_mask(builder: GraphBuilder, mask: ir.Value, window: int) -> ir.Value:
    """Sliding-window mask, bool ``[s, t]``: keys less than ``window`` behind a query, the last s of the t keys.

    ``mask`` ``[b, 1, s, t]`` gives the sizes. What lies ahead isn't hidden.
    """
    queries, keys, axis = _positions(builder, mask)
    oldest = builder.op("Sub", queries, builder.constant(window))
    return builder.op("Greater", keys, builder.op("Unsqueeze", oldest, axis))


def causal_mask(builder: GraphBuilder, mask: ir.Value) -> ir.Value:
    """Causal mask, bool ``[s, t]``: keys that don't lie ahead of a query; sizes as in `window_mask`."""
    queries, keys, axis = _positions(builder, mask)
    return builder.op("Not", builder.op("Greater", keys, builder.op("Unsqueeze", queries, axis)))


def bucketed_bias(builder: GraphBuilder, table: ir.Value, buckets: np.ndarray, index: ir.Value) -> ir.Value:
    """Learned biases by distance, ``[1, heads, s, t]``, from a ``table`` ``[buckets, heads]``.

    ``buckets`` int64 holds the row of the table for each distance, ``index`` ``[s, t]`` where in it each distance is.
    Source: T5 (Raffel et al., arXiv 1910.10683).
    """
    rows = builder.op("Gather", table, builder.op("Gather", builder.constant(buckets), index, axis=0), axis=0)
    return builder.op("Unsqueeze", builder.op("Transpose", rows, perm=[2, 0, 1]), builder.constant([0]))


def _positions(builder: GraphBuilder, mask: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Positions of the queries ``[s]`` and the keys ``[t]`` of a mask ``[b, 1, s, t]``; and the axis 1."""
    zero, step, axis = (builder.constant(number) for number in (0, 1, [1]))
    total, length = builder.size(mask, 3), builder.size(mask, 2)
    keys = builder.op("Range", zero, total, step)
    return builder.op("Range", builder.op("Sub", total, length), total, step), keys, axis
