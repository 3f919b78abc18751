"""A traced graph with the operators that onnxruntime fused for its CPU, as mobius gives its own."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from mobius.rewrite_rules import gelu_fusion_rules, skip_layer_norm_rules, skip_norm_rules
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnx_ir.tape import Tape
from onnxscript.rewriter import rewrite

from compress.export.traced.patterns import constant

_CONTRIB = "com.microsoft"
_FAR = -1e9  # finite: a query that is padding sees nothing, and a softmax over -inf is NaN


def fuse_operators(model: ir.Model) -> None:
    """Rewrite in place: attention with a cache as GroupQueryAttention, skip connections inside the norms after them."""
    _group(model.graph)
    for rules in (skip_norm_rules(), skip_layer_norm_rules(), gelu_fusion_rules()):
        rewrite(model, pattern_rewrite_rules=rules)
    RemoveUnusedNodesPass()(model)
    for value in list(model.graph.inputs):
        if value.name == "position_ids" and not value.uses():
            model.graph.inputs.remove(value)
    if any(node.domain == _CONTRIB for node in model.graph):
        model.opset_imports[_CONTRIB] = 1


def _group(graph: ir.Graph) -> None:
    """Every Attention with a cache as GroupQueryAttention.

    What a mask hides, windows and padding, is a bias there; the operator's own lengths count all tokens.
    """
    biases: dict[ir.Value, ir.Value] = {}
    lengths: list[ir.Value] = []
    for node in [node for node in graph if node.op_type == "Attention" and len(node.outputs) > 1]:
        q, k, v, seen, *past = node.inputs[:6]
        tape = Tape()
        assert seen is not None
        if not lengths:
            mask = next(value for value in graph.inputs if value.name == "attention_mask")
            lengths = _lengths(tape, graph, graph.inputs[0], mask)
        if seen not in biases:
            hidden, shown = (constant(graph, np.array(number, np.float32)) for number in (_FAR, 0.0))
            biases[seen] = tape.op("Where", [seen, shown, hidden])
        attributes: dict[str, int | float] = {
            "num_heads": node.attributes["q_num_heads"].as_int(),
            "kv_num_heads": node.attributes["kv_num_heads"].as_int(),
            "scale": node.attributes["scale"].as_float(),
            "softcap": node.attributes.get_float("softcap", 0.0),
        }
        q, k, *tables = _rotated_inside(q, k)
        if tables[0] is not None:
            attributes |= {"do_rotary": 1, "rotary_interleaved": 0}
        inputs = [q, k, v, *past, *lengths, *tables, None, biases[seen]]
        made = tape.op_multi_out("GroupQueryAttention", inputs, attributes, domain=_CONTRIB, num_outputs=3)
        for old, new in zip(node.outputs, made, strict=True):
            new.shape, new.type, name = old.shape, old.type, old.name
            old.replace_all_uses_with(new, replace_graph_outputs=True)
            old.name, new.name = f"{name}.ungrouped", name
        graph.insert_before(node, tape.nodes)
        graph.remove(node, safe=True)


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


def _lengths(tape: Tape, graph: ir.Graph, ids: ir.Value, mask: ir.Value) -> list[ir.Value]:
    """The number of each text's tokens less one, ``[b]``, and of the longest's, one number."""
    total = tape.op("Squeeze", [tape.op("Shape", [mask], {"start": 1, "end": 2})])
    total = tape.op("Cast", [total], {"to": int(ir.DataType.INT32)})
    last = tape.op("Sub", [total, constant(graph, np.array(1, np.int32))])
    return [tape.op("Expand", [last, tape.op("Shape", [ids], {"start": 0, "end": 1})]), total]
