"""``fuse:kv=int8``: attention keeps its keys and values as int8."""

from __future__ import annotations

import onnx_ir as ir

_PAST, _PRESENT, _SCALES = (3, 4), (1, 2), (12, 13)
"""Where GroupQueryAttention takes keys and values, gives them back, and takes their scales."""


def round_cache(graph: ir.Graph) -> int:
    """Make the cache of every GroupQueryAttention int8, with one scale a channel.

    The scales are initializers without values, named after the input that they scale with ``.scale`` behind it, of
    shape ``[1, heads, 1, size]``: the exporter, who has the model at hand, measures them.
    """
    changed = 0
    for node in graph:
        if node.op_type != "GroupQueryAttention" or "kv_cache_bit_width" in node.attributes:
            continue
        for each in ("k_quant_type", "v_quant_type"):
            node.attributes[each] = ir.AttrString(each, "PER_CHANNEL")
        node.attributes["kv_cache_bit_width"] = ir.AttrInt64("kv_cache_bit_width", 8)
        node.resize_inputs(max(_SCALES) + 1)
        for past, present, at in zip(_PAST, _PRESENT, _SCALES, strict=True):
            value = node.inputs[past]
            assert value is not None and value.shape is not None
            shape = ir.Shape([1, value.shape[1], 1, value.shape[3]])
            scale = ir.Value(name=f"{value.name}.scale", type=ir.TensorType(ir.DataType.FLOAT), shape=shape)
            graph.initializers.add(scale)
            node.replace_input_with(at, scale)
            value.dtype = node.outputs[present].dtype = ir.DataType.INT8
        changed += 1
    return changed
