"""Attention, rotary embeddings and RMS norms spelled out in the operators that every runtime has.

Softmax(scale · Q Kᵀ + mask) V is written with its heads apart and the scale on Q, which is how TensorRT knows attention
again. Formulas are those of the ONNX operators ``Attention``, ``RotaryEmbedding`` and ``RMSNormalization``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

from compress.errors import ExportError

_HIDDEN = -6e4  # finite in float16 too: a query that is padding sees nothing, and a softmax over -inf is NaN
FLOAT32_SUFFIX = ".exact"
"""How values end that are computed in float32 whatever the graph is computed in."""


def decompose(model: ir.Model) -> None:
    """Rewrite in place; an ExportError for a variety of these operators that no architecture here has."""
    speller = _Decomposer(model.graph)
    for node in list(model.graph):
        match node.op_type:
            case "Attention":
                speller.put(node, speller.attention(node))
            case "RotaryEmbedding":
                speller.put(node, [speller.rotary(node)])
            case "RMSNormalization":
                speller.put(node, [speller.norm(node)])
    RemoveUnusedNodesPass()(model)


class _Decomposer:
    """One graph; nodes wait until `put` places them in front of the one that they replace."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.nodes: list[ir.Node] = []
        self.masks: dict[tuple[ir.Value, bool], ir.Value] = {}
        self.made = 0

    def op(self, name: str, inputs: Sequence[ir.Value], suffix: str = "", outputs: int = 1, **attributes: Any) -> Any:
        """A new node's output, or all of them."""
        self.made += 1
        values = [ir.Value(name=f"spelled.{self.made}.{i}{suffix}") for i in range(outputs)]
        attrs = ir.convenience.convert_attributes(attributes)
        self.nodes.append(ir.Node("", name, inputs, attrs, outputs=values, name=values[0].name))
        return values[0] if outputs == 1 else values

    def constant(self, array: NDArray[Any], suffix: str = "") -> ir.Value:
        """A constant, kept once in the graph."""
        name = f"spelled.{array.dtype}.{'x'.join(map(str, np.atleast_1d(array)))}.{array.ndim}{suffix}"
        if name not in self.graph.initializers:
            tensor = ir.tensor(array, name=name)
            known = ir.TensorType(tensor.dtype)
            value = ir.Value(name=name, type=known, shape=ir.Shape(array.shape), const_value=tensor)
            self.graph.initializers.add(value)
        return self.graph.initializers[name]

    def sizes(self, *numbers: int) -> ir.Value:
        """A constant shape, or a list of axes."""
        return self.constant(np.array(numbers, np.int64))

    def number(self, value: float, suffix: str = "") -> ir.Value:
        """A constant float."""
        return self.constant(np.array(value, np.float32), suffix)

    def put(self, old: ir.Node, values: Sequence[ir.Value]) -> None:
        """Place what was made in front of ``old`` and take its outputs' places."""
        for before, value in zip(old.outputs, values, strict=False):
            value.shape, value.type, name = before.shape, before.type, before.name
            ir.convenience.replace_all_uses_with(before, value, replace_graph_outputs=True)
            if value in self.graph.outputs:
                before.name, value.name = f"{name}.spelled", name
        nodes, self.nodes = self.nodes, []
        self.graph.insert_before(old, nodes)
        self.graph.remove(old, safe=True)

    def norm(self, node: ir.Node) -> ir.Value:
        """x / √(mean x² + ε) · weight, up to the product in float32: squares leave float16's range."""
        x, weight = _required_inputs(node, 2)
        exact = self.op("Cast", [x], FLOAT32_SUFFIX, to=int(ir.DataType.FLOAT))
        square = self.op("Mul", [exact, exact], FLOAT32_SUFFIX)
        mean = self.op("ReduceMean", [square, self.sizes(-1)], FLOAT32_SUFFIX, keepdims=1)
        epsilon = self.number(node.attributes["epsilon"].as_float(), FLOAT32_SUFFIX)
        root = self.op("Sqrt", [self.op("Add", [mean, epsilon], FLOAT32_SUFFIX)], FLOAT32_SUFFIX)
        unit = self.op("Cast", [self.op("Div", [exact, root], FLOAT32_SUFFIX)], to=int(ir.DataType.FLOAT))
        normed: ir.Value = self.op("Mul", [unit, weight])
        return normed

    def rotary(self, node: ir.Node) -> ir.Value:
        """Halves of every head rotated against each other: ``[b, s, heads · size]``, cos and sin ``[b, s, size/2]``."""
        x, cos, sin = _required_inputs(node, 3)
        _require_attribute(node, "rotary_embedding_dim", 0)
        _require_attribute(node, "interleaved", 0)
        heads = node.attributes["num_heads"].as_int()
        apart = self.op("Reshape", [x, self.sizes(0, 0, heads, -1)])
        left, right = self.op("Split", [apart], outputs=2, axis=-1, num_outputs=2)
        cos, sin = (self.op("Unsqueeze", [each, self.sizes(2)]) for each in (cos, sin))
        turned = [
            self.op("Sub", [self.op("Mul", [left, cos]), self.op("Mul", [right, sin])]),
            self.op("Add", [self.op("Mul", [left, sin]), self.op("Mul", [right, cos])]),
        ]
        joined: ir.Value = self.op("Reshape", [self.op("Concat", turned, axis=-1), self.sizes(0, 0, -1)])
        return joined

    def attention(self, node: ir.Node) -> list[ir.Value]:
        """Attention, and where there is a cache the keys and values that it holds now, ``[b, heads, t, size]``."""
        q, k, v, mask, *past = _required_inputs(node, len([value for value in node.inputs if value is not None]))
        _require_attribute(node, "softcap", 0.0)
        heads, shared = (node.attributes[f"{of}_num_heads"].as_int() for of in ("q", "kv"))
        scaled = self.op("Mul", [self.heads(q, heads), self.number(node.attributes["scale"].as_float())])
        cache = [self.heads(k, shared), self.heads(v, shared)]
        if past:
            cache = [self.op("Concat", [old, new], axis=2) for old, new in zip(past, cache, strict=True)]
        keys, values = (self.repeated(each, heads // shared, heads) for each in cache)
        scores = self.op("MatMul", [scaled, self.op("Transpose", [keys], perm=[0, 1, 3, 2])])
        causal = bool(node.attributes.get_int("is_causal", 0))
        seen = self.op("Where", [self.visible(mask, causal), scores, self.number(_HIDDEN)])
        mixed = self.op("MatMul", [self.op("Softmax", [seen], axis=-1), values])
        out = self.op("Reshape", [self.op("Transpose", [mixed], perm=[0, 2, 1, 3]), self.sizes(0, 0, -1)])
        return [out, *cache] if past else [out]

    def heads(self, x: ir.Value, count: int) -> ir.Value:
        """``[b, s, heads · size]`` as ``[b, heads, s, size]``."""
        apart = self.op("Reshape", [x, self.sizes(0, 0, count, -1)])
        turned: ir.Value = self.op("Transpose", [apart], perm=[0, 2, 1, 3])
        return turned

    def repeated(self, x: ir.Value, times: int, heads: int) -> ir.Value:
        """Every head of ``[b, shared, t, size]`` as often as queries share it: ``[b, heads, t, size]``."""
        if times == 1:
            return x
        wide = self.op("Expand", [self.op("Unsqueeze", [x, self.sizes(2)]), self.sizes(1, 1, times, 1, 1)])
        size = self.op("Shape", [x], start=2)
        target = self.op("Concat", [self.sizes(0, heads), size], axis=0)
        flat: ir.Value = self.op("Reshape", [wide, target])
        return flat

    def visible(self, mask: ir.Value, causal: bool) -> ir.Value:
        """Bool ``[b, 1, s, t]``: which keys a query sees, the last s of t being the queries' own."""
        if not causal:
            return mask
        if (mask, causal) not in self.masks:
            zero, one = (self.constant(np.array(each, np.int64)) for each in (0, 1))
            total, length = (self.op("Squeeze", [self.op("Shape", [mask], start=at, end=at + 1)]) for at in (3, 2))
            keys = self.op("Range", [zero, total, one])
            queries = self.op("Range", [self.op("Sub", [total, length]), total, one])
            later = self.op("Greater", [keys, self.op("Unsqueeze", [queries, self.sizes(1)])])
            self.masks[mask, causal] = self.op("And", [mask, self.op("Not", [later])])
        return self.masks[mask, causal]


def _required_inputs(node: ir.Node, count: int) -> list[ir.Value]:
    found = [value for value in node.inputs if value is not None][:count]
    if len(found) < count or (node.op_type == "Attention" and count < 4):
        raise ExportError(f"{node.op_type} has other inputs than any architecture here: {node.name}")
    return found


def _require_attribute(node: ir.Node, name: str, value: float) -> None:
    attribute = node.attributes.get(name)
    if attribute is not None and attribute.value != value:
        raise ExportError(f"{node.op_type} with {name}={attribute.value} isn't written for this target: {node.name}")
