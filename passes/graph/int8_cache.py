"""Graph rewrite of ``fuse:kv=int8``: attention keeps its keys and values as int8."""

from __future__ import annotations

import onnx_ir as ir

from compress.graph.builder import required, set_dtype
from compress.onnx_names import BIT_WIDTH, PAST, PRESENT, QUANT_TYPES, SCALE, SCALES


def round_cache(graph: ir.Graph) -> int:
    """Make the cache of every GroupQueryAttention int8, with one scale a channel.

    The scales are initializers without values, named after the input that they scale with ``.scale`` behind it, of
    shape ``[1, heads, 1, size]``: the exporter, who has the model at hand, measures them.
    """
    changed = 0
    for node in graph:
        if node.op_type != "GroupQueryAttention" or BIT_WIDTH in node.attributes:
            continue
        for attribute in QUANT_TYPES:
            node.attributes[attribute] = ir.AttrString(attribute, "PER_CHANNEL")
        node.attributes[BIT_WIDTH] = ir.AttrInt64(BIT_WIDTH, 8)
        node.resize_inputs(max(SCALES) + 1)
        for past, present, at in zip(PAST, PRESENT, SCALES, strict=True):
            value = required(node.inputs[past])
            _, heads, _, size = required(value.shape)
            shape = ir.Shape([1, heads, 1, size])
            scale = ir.Value(name=f"{value.name}{SCALE}", type=ir.TensorType(ir.DataType.FLOAT), shape=shape)
            graph.initializers.add(scale)
            node.replace_input_with(at, scale)
            set_dtype(value, ir.DataType.INT8)
            set_dtype(node.outputs[present], ir.DataType.INT8)
        changed += 1
    return changed
