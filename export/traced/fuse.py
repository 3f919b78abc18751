"""Fuse a traced graph into onnxruntime's own operators, as mobius gives its own.

Skips, norms and Gelus come as rewrite rules of mobius; attention is a walk (`compress.graph.grouped_attention`), since
what it becomes hangs on the graph's mask and on the tables behind its rotations.
"""

from __future__ import annotations

import onnx_ir as ir
from mobius.rewrite_rules import gelu_fusion_rules, skip_layer_norm_rules, skip_norm_rules
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxscript.rewriter import rewrite

from compress.export.traced.patterns import PREFIX
from compress.graph.grouped_attention import group_attention
from compress.onnx_names import CONTRIB_DOMAIN


def fuse_operators(model: ir.Model, grouped: bool = True) -> None:
    """Fuse in place: skip connections into the norms after them, and, where ``grouped``, attention with a cache."""
    if grouped:
        group_attention(model.graph, PREFIX)
    for rules in (skip_norm_rules(), skip_layer_norm_rules(), gelu_fusion_rules()):
        rewrite(model, pattern_rewrite_rules=rules)
    RemoveUnusedNodesPass()(model)
    for value in list(model.graph.inputs):
        if value.name == "position_ids" and not value.uses():
            model.graph.inputs.remove(value)
    if any(node.domain == CONTRIB_DOMAIN for node in model.graph):
        model.opset_imports[CONTRIB_DOMAIN] = 1
