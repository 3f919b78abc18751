"""Fuse a traced graph into onnxruntime's own operators, as mobius gives its own.

Skips, norms and Gelus come as rewrite rules of mobius; attention is a walk, since what it becomes hangs on the graph's
mask and on the tables behind its rotations.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from mobius.rewrite_rules import gelu_fusion_rules, skip_layer_norm_rules, skip_norm_rules
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxscript.rewriter import rewrite

from compress.export.traced.patterns import PREFIX
from compress.graph.builder import Attribute, GraphBuilder, required
from compress.graph.masks import MASKED
from compress.onnx_names import CONTRIB_DOMAIN


def fuse_operators(model: ir.Model) -> None:
    """Fuse in place: attention with a cache to GroupQueryAttention, skip connections into the norms after them."""
    _group(model.graph)
    for rules in (skip_norm_rules(), skip_layer_norm_rules(), gelu_fusion_rules()):
        rewrite(model, pattern_rewrite_rules=rules)
    RemoveUnusedNodesPass()(model)
    for value in list(model.graph.inputs):
        if value.name == "position_ids" and not value.uses():
            model.graph.inputs.remove(value)
    if any(node.domain == CONTRIB_DOMAIN for node in model.graph):
        model.opset_imports[CONTRIB_DOMAIN] = 1


def _group(graph: ir.Graph) -> None:
    """Every Attention with a cache as GroupQueryAttention.

    What a mask hides, windows and padding, is a bias there; the operator's own lengths count all tokens.
    """
    builder = GraphBuilder(graph, PREFIX)
    biases: dict[ir.Value, ir.Value] = {}
    lengths: list[ir.Value] = []
    for node in [node for node in graph if node.op_type == "Attention" and len(node.outputs) > 1]:
        q, k, v, mask, *past = node.inputs[:6]
        mask = required(mask)
        if not lengths:
            lengths = _lengths(builder)
        if mask not in biases:
            masked, visible = builder.constant(MASKED), builder.constant(0.0)
            biases[mask] = builder.op("Where", mask, visible, masked)
        attributes: dict[str, Attribute] = {
            "num_heads": node.attributes["q_num_heads"].as_int(),
            "kv_num_heads": node.attributes["kv_num_heads"].as_int(),
            "scale": node.attributes["scale"].as_float(),
            "softcap": node.attributes.get_float("softcap", 0.0),
        }
        q, k, *tables = _rotated_inside(q, k)
        if tables[0] is not None:
            attributes |= {"do_rotary": 1, "rotary_interleaved": 0}
        inputs = [q, k, v, *past, *lengths, *tables, None, biases[mask]]
        outputs = builder.multi_op("GroupQueryAttention", *inputs, outputs=3, domain=CONTRIB_DOMAIN, **attributes)
        builder.replace(node, *outputs, rename=True)


def _rotated_inside(q: ir.Value | None, k: ir.Value | None) -> list[ir.Value | None]:
    """Queries and keys before their rotation, and the tables that attention may rotate by itself; None where it can't.

    It counts padding as well, which moves all of a text's positions alike: rotations don't tell.
    """
    nodes = [value.producer() if value is not None else None for value in (q, k)]
    first, second = nodes
    if first is None or second is None or {first.op_type, second.op_type} != {"RotaryEmbedding"}:
        return [q, k, None, None]
    looked_up = [value.producer() if value is not None else None for value in first.inputs[1:3]]
    tables = [node.inputs[0] for node in looked_up if node is not None and node.op_type == "Gather"]
    if len(tables) < 2 or list(first.inputs[1:3]) != list(second.inputs[1:3]):
        return [q, k, None, None]
    return [first.inputs[0], second.inputs[0], *tables]


def _lengths(builder: GraphBuilder) -> list[ir.Value]:
    """The number of each text's tokens less one, ``[b]``, and of the longest's, one number."""
    ids = builder.graph.inputs[0]
    mask = next(value for value in builder.graph.inputs if value.name == "attention_mask")
    total = builder.op("Cast", builder.size(mask, 1), to=int(ir.DataType.INT32))
    last = builder.op("Sub", total, builder.constant(np.array(1, np.int32)))
    return [builder.op("Expand", last, builder.dim(ids, 0)), total]
