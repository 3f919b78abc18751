"""Attention with a cache as onnxruntime's GroupQueryAttention, with the rotation of queries and keys where it can.

Where it rotates by itself, it does so by one table for all calls.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compress.graph.builder import Attribute, GraphBuilder, required
from compress.graph.masks import MASKED
from compress.onnx_names import CONTRIB_DOMAIN, HEAD_MULTIPLE, ROTATED_MULTIPLE


def group_attention(graph: ir.Graph, prefix: str) -> None:
    """Replace every Attention with a cache whose heads the operator takes; others stay as they are.

    What a mask hides, windows and padding, is a bias there; the operator's own lengths count all tokens. Names of
    constants begin with ``prefix``.
    """
    builder = GraphBuilder(graph, prefix)
    biases: dict[ir.Value, ir.Value] = {}
    lengths: list[ir.Value] = []
    for node in [node for node in graph if node.op_type == "Attention" and len(node.outputs) > 1]:
        q, k, v, mask, *past = node.inputs[:6]
        mask, size = required(mask), _head_size(required(past[0]))
        if size % HEAD_MULTIPLE:
            continue
        if not lengths:
            lengths = _lengths(builder)
        if mask not in biases:
            biases[mask] = _bias(builder, mask)
        attributes: dict[str, Attribute] = {
            "num_heads": node.attributes["q_num_heads"].as_int(),
            "kv_num_heads": node.attributes["kv_num_heads"].as_int(),
            "scale": node.attributes["scale"].as_float(),
            "softcap": node.attributes.get_float("softcap", 0.0),
        }
        rotation = None if size % ROTATED_MULTIPLE else _rotation(graph, q, k)
        tables: list[ir.Value | None] = [None, None]
        if rotation is not None:
            q, k, *tables = rotation
            interleaved = required(required(node.inputs[0]).producer()).attributes.get_int("interleaved", 0)
            attributes |= {"do_rotary": 1, "rotary_interleaved": interleaved}
        inputs = [q, k, v, *past, *lengths, *tables, None, biases[mask]]
        outputs = builder.multi_op("GroupQueryAttention", *inputs, outputs=3, domain=CONTRIB_DOMAIN, **attributes)
        builder.replace(node, *outputs, rename=True)


def _head_size(past: ir.Value) -> int:
    """Channels of a head of a cache ``[b, heads, t, size]``."""
    size = required(past.shape)[3]
    return size if isinstance(size, int) else 1


def _bias(builder: GraphBuilder, mask: ir.Value) -> ir.Value:
    """A bool mask as a bias of scores; a bias as it is."""
    if mask.dtype == ir.DataType.FLOAT:
        return mask
    masked, visible = builder.constant(MASKED), builder.constant(0.0)
    return builder.op("Where", mask, visible, masked)


def _rotation(graph: ir.Graph, q: ir.Value | None, k: ir.Value | None) -> list[ir.Value | None] | None:
    """Queries and keys before their rotation, and the tables that attention may rotate by itself; None where it can't.

    It counts padding as well, which moves all of a text's positions alike: rotations don't tell.
    """
    nodes = [value.producer() if value is not None else None for value in (q, k)]
    first, second = nodes
    if first is None or second is None or {first.op_type, second.op_type} != {"RotaryEmbedding"}:
        return None
    looked_up = [value.producer() if value is not None else None for value in first.inputs[1:3]]
    positions = next((value for value in graph.inputs if value.name == "position_ids"), None)
    tables = [n.inputs[0] for n in looked_up if n is not None and n.op_type == "Gather" and n.inputs[1] is positions]
    if len(tables) < 2 or list(first.inputs[1:3]) != list(second.inputs[1:3]):
        return None
    half = required(required(tables[0]).shape)[1]
    if not isinstance(half, int) or 2 * half % ROTATED_MULTIPLE:
        return None
    return [first.inputs[0], second.inputs[0], *tables]


def _lengths(builder: GraphBuilder) -> list[ir.Value]:
    """The number of each text's tokens less one, ``[b]``, and of the longest's, one number."""
    ids = builder.graph.inputs[0]
    mask = next(value for value in builder.graph.inputs if value.name == "attention_mask")
    total = builder.op("Cast", builder.size(mask, 1), to=int(ir.DataType.INT32))
    last = builder.op("Sub", total, builder.constant(np.array(1, np.int32)))
    return [builder.op("Expand", last, builder.dim(ids, 0)), total]
