"""Decompose attention, rotary embeddings and RMS norms into the operators that every runtime has.

Softmax(scale · Q Kᵀ + mask) V is written with its heads apart and the scale on Q, which is how TensorRT knows attention
again. Formulas are those of the ONNX operators ``Attention``, ``RotaryEmbedding`` and ``RMSNormalization``.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from compress.errors import ExportError
from compress.graph.builder import Attribute, NumberedBuilder
from compress.graph.masks import MASKED_IN_HALVES, causal_mask

FLOAT32_SUFFIX = ".exact"
"""Suffix of values that are computed in float32 whatever the graph is computed in."""


def decompose(model: ir.Model) -> None:
    """Decompose in place; an ExportError for a variety of these operators that no architecture here has."""
    decomposer = _Decomposer(model.graph)
    for node in list(model.graph):
        match node.op_type:
            case "Attention":
                decomposer.replace(node, *decomposer.attention(node))
            case "RotaryEmbedding":
                decomposer.replace(node, decomposer.rotary(node))
            case "RMSNormalization":
                decomposer.replace(node, decomposer.norm(node))
    RemoveUnusedNodesPass()(model)


class _Decomposer(NumberedBuilder):
    """The names of its nodes say which of them stay in float32."""

    def __init__(self, graph: ir.Graph) -> None:
        super().__init__(graph, "spelled")  # names in artifacts stay as they are from version to version
        self.causal_masks: dict[ir.Value, ir.Value] = {}

    def exact(self, op_type: str, *inputs: ir.Value, **attributes: Attribute) -> ir.Value:
        """A node that computes in float32 whatever the graph is computed in."""
        return self.op(op_type, *inputs, name=FLOAT32_SUFFIX, domain="", **attributes)

    def norm(self, node: ir.Node) -> ir.Value:
        """x / √(mean x² + ε) · weight, up to the product in float32: squares leave float16's range."""
        x, weight = _required_inputs(node, 2)
        epsilon = np.array(node.attributes["epsilon"].as_float(), np.float32)
        exact = self.exact("Cast", x, to=int(ir.DataType.FLOAT))
        mean = self.exact("ReduceMean", self.exact("Mul", exact, exact), self.constant([-1]), keepdims=1)
        shifted = self.exact("Add", mean, self.constant(epsilon, f"{self.constant_name(epsilon)}{FLOAT32_SUFFIX}"))
        unit = self.exact("Div", exact, self.exact("Sqrt", shifted))
        return self.op("Mul", self.op("Cast", unit, to=int(ir.DataType.FLOAT)), weight)

    def rotary(self, node: ir.Node) -> ir.Value:
        """Halves of every head, or neighbors, rotated against each other: ``[b, s, heads · size]``.

        Cos and sin are ``[b, s, width / 2]``; channels behind the ``rotary_embedding_dim``, the width, stay.
        """
        x, cos, sin = _required_inputs(node, 3)
        heads, width = node.attributes["num_heads"].as_int(), node.attributes.get_int("rotary_embedding_dim", 0)
        by_head, rest = self.op("Reshape", x, self.constant([0, 0, heads, -1])), []
        if width:
            rest = [self.channels(by_head, width, np.iinfo(np.int64).max)]
            by_head = self.channels(by_head, 0, width)
        turned = self.turned(by_head, cos, sin, bool(node.attributes.get_int("interleaved", 0)))
        out = self.op("Concat", turned, *rest, axis=-1) if rest else turned
        return self.op("Reshape", out, self.constant([0, 0, -1]))

    def turned(self, x: ir.Value, cos: ir.Value, sin: ir.Value, neighbors: bool) -> ir.Value:
        """Channels of ``[b, s, heads, width]`` rotated: halves, or ``neighbors``, against each other."""
        axes = [2]
        if neighbors:
            pairs = self.op("Reshape", x, self.constant([0, 0, 0, -1, 2]))
            x, axes = pairs, [2, 4]
        first, second = self.multi_op("Split", x, outputs=2, axis=-1, num_outputs=2)
        cos, sin = (self.op("Unsqueeze", table, self.constant(axes)) for table in (cos, sin))
        rotated = [
            self.op("Sub", self.op("Mul", first, cos), self.op("Mul", second, sin)),
            self.op("Add", self.op("Mul", first, sin), self.op("Mul", second, cos)),
        ]
        out = self.op("Concat", *rotated, axis=-1)
        return self.op("Reshape", out, self.constant([0, 0, 0, -1])) if neighbors else out

    def channels(self, x: ir.Value, start: int, end: int) -> ir.Value:
        """A range of the channels of ``[b, s, heads, size]``."""
        return self.op("Slice", x, *(self.constant([index]) for index in (start, end, -1)))

    def attention(self, node: ir.Node) -> list[ir.Value]:
        """Attention, and where there is a cache the keys and values that it holds now, ``[b, heads, t, size]``."""
        q, k, v, mask, *past = _required_inputs(node, len([value for value in node.inputs if value is not None]))
        heads, shared = (node.attributes[f"{side}_num_heads"].as_int() for side in ("q", "kv"))
        scaled = self.op("Mul", self.by_head(q, heads), self.constant(node.attributes["scale"].as_float()))
        cache = [self.by_head(k, shared), self.by_head(v, shared)]
        if past:
            cache = [self.op("Concat", old, new, axis=2) for old, new in zip(past, cache, strict=True)]
        keys, values = (self.repeated(value, heads // shared, heads) for value in cache)
        scores = self.op("MatMul", scaled, self.op("Transpose", keys, perm=[0, 1, 3, 2]))
        scores = self.capped(scores, node.attributes.get_float("softcap", 0.0))
        masked = self.masked(scores, mask, bool(node.attributes.get_int("is_causal", 0)))
        mixed = self.op("MatMul", self.op("Softmax", masked, axis=-1), values)
        out = self.op("Reshape", self.op("Transpose", mixed, perm=[0, 2, 1, 3]), self.constant([0, 0, -1]))
        return [out, *cache] if past else [out]

    def capped(self, scores: ir.Value, cap: float) -> ir.Value:
        """cap · tanh(scores / cap), or the scores where the cap is 0.

        Before they are masked, as transformers does; the operator caps afterwards, and lets masked keys through again.
        """
        if not cap:
            return scores
        bound = self.constant(cap)
        return self.op("Mul", self.op("Tanh", self.op("Div", scores, bound)), bound)

    def by_head(self, x: ir.Value, count: int) -> ir.Value:
        """``[b, s, heads · size]`` as ``[b, heads, s, size]``."""
        return self.op("Transpose", self.op("Reshape", x, self.constant([0, 0, count, -1])), perm=[0, 2, 1, 3])

    def repeated(self, x: ir.Value, times: int, heads: int) -> ir.Value:
        """Every head of ``[b, shared, t, size]`` as often as queries share it: ``[b, heads, t, size]``."""
        if times == 1:
            return x
        wide = self.op("Expand", self.op("Unsqueeze", x, self.constant([2])), self.constant([1, 1, times, 1, 1]))
        size = self.op("Shape", x, start=2)
        return self.op("Reshape", wide, self.op("Concat", self.constant([0, heads]), size, axis=0))

    def masked(self, scores: ir.Value, mask: ir.Value, causal: bool) -> ir.Value:
        """Scores ``[b, heads, s, t]`` far down where a query doesn't see a key.

        ``mask`` is bool, or a float bias, which may leave float16's range and is kept in it.
        """
        visible: ir.Value | None = mask
        if mask.dtype == ir.DataType.FLOAT:
            scores = self.op("Max", self.op("Add", scores, mask), self.constant(MASKED_IN_HALVES))
            visible = None
        if causal:
            visible = self.causal(mask, visible)
        return scores if visible is None else self.op("Where", visible, scores, self.constant(MASKED_IN_HALVES))

    def causal(self, mask: ir.Value, visible: ir.Value | None) -> ir.Value:
        """Mask of keys that are ``visible`` and don't lie ahead, bool; made once for each ``mask``."""
        if mask not in self.causal_masks:
            behind = causal_mask(self, mask)
            self.causal_masks[mask] = behind if visible is None else self.op("And", visible, behind)
        return self.causal_masks[mask]


def _required_inputs(node: ir.Node, count: int) -> list[ir.Value]:
    inputs = [value for value in node.inputs if value is not None][:count]
    if len(inputs) < count or (node.op_type == "Attention" and count < 4):
        raise ExportError(f"{node.op_type} has other inputs than any architecture here: {node.name}")
    return inputs
