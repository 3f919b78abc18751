"""Graph rewrites of ``fuse``, each a function from a float graph to the number of places that it changed.

Operators of the domain ``com.microsoft`` are onnxruntime's (see its ContribOperators page); all have CPU kernels. Left
out because they were slower there: MultiHeadAttention for encoders (by 5 to 15 %), which its standard Attention beats,
and packed q/k/v in front of that, which can't take it whole (by 1 % of a float MiniLM).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from compress.graph.builder import GraphBuilder, required
from compress.onnx_names import CONTRIB_DOMAIN


@dataclass(frozen=True)
class Projection:
    """``MatMul(x, Transpose(weight))``, plus a bias where there is one; ``out`` is its value."""

    x: ir.Value
    weight: ir.Value
    bias: ir.Value | None
    out: ir.Value

    @property
    def size(self) -> int:
        """Number of its outputs."""
        return required(self.weight.shape).numpy()[0]


def projection(value: ir.Value | None) -> Projection | None:
    """Match the projection that a value is the result of; None if it is something else, or its weight is packed."""
    node = value.producer() if value is not None else None
    if value is None or node is None:
        return None
    if node.op_type == "Add":
        for i, bias in enumerate(node.inputs):
            inner = projection(node.inputs[1 - i])
            if inner is not None and inner.bias is None and _is_vector(bias) and len(inner.out.uses()) == 1:
                return Projection(inner.x, inner.weight, bias, value)
        return None
    if node.op_type != "MatMul" or node.inputs[0] is None or node.inputs[1] is None:
        return None
    transpose = node.inputs[1].producer()
    weight = transpose.inputs[0] if transpose is not None and transpose.op_type == "Transpose" else None
    return Projection(node.inputs[0], weight, None, value) if weight is not None and weight.is_initializer() else None


def fuse_silu(graph: ir.Graph) -> int:
    """Fuse ``x * Sigmoid(x)`` to QuickGelu with a slope of 1."""
    builder, changed = GraphBuilder(graph), 0
    for node in _of_type(graph, "Mul"):
        for i, value in enumerate(node.inputs):
            gate = value.producer() if value is not None else None
            if gate is not None and gate.op_type == "Sigmoid" and gate.inputs[0] is node.inputs[1 - i]:
                fused = builder.op("QuickGelu", gate.inputs[0], alpha=1.0, domain=CONTRIB_DOMAIN)
                builder.replace(node, fused, rename=True)
                changed += 1
                break
    return changed


def pack_gate_up(graph: ir.Graph) -> int:
    """Pack a gate and an up projection, multiplied after the gate's activation, into one MatMul and a Split."""
    builder, changed = GraphBuilder(graph), 0
    for node in _of_type(graph, "Mul"):
        parts = [projection(_before_activation(value)) for value in node.inputs]
        packed = _packed(builder, parts)
        if packed is not None:
            _split(builder, packed, parts, node)
            changed += 1
    return changed


def pack_qkv(graph: ir.Graph) -> int:
    """Pack q, k and v projections before GroupQueryAttention into one MatMul, which is split if norms come between."""
    builder, changed = GraphBuilder(graph), 0
    for node in _of_type(graph, "GroupQueryAttention"):
        straight = [projection(value) for value in node.inputs[:3]]
        parts = [projection(_before_norm(value)) for value in node.inputs[:3]]
        packed = _packed(builder, parts)
        if packed is None:
            continue
        if all(straight):
            builder.insert_before(node)
            for i, value in enumerate((packed, None, None)):
                node.replace_input_with(i, value)
        else:
            _split(builder, packed, parts, node)
        changed += 1
    return changed


def fuse_bias_gelu(graph: ir.Graph) -> int:
    """Fuse a bias and the Gelu behind it to BiasGelu."""
    builder, changed = GraphBuilder(graph), 0
    for node in _of_type(graph, "Gelu"):
        part = projection(node.inputs[0])
        if part is None or part.bias is None or node.attributes.get_string("approximate", "none") != "none":
            continue
        fused = builder.op("BiasGelu", _product(part), part.bias, domain=CONTRIB_DOMAIN)
        builder.replace(node, fused, rename=True)
        changed += 1
    return changed


def fuse_skip_bias(graph: ir.Graph) -> int:
    """Fuse a bias in front of a skip connection into SkipLayerNormalization."""
    changed = 0
    for node in _of_type(graph, "SkipLayerNormalization"):
        part = projection(node.inputs[1])
        if part is None or part.bias is None or len(part.out.uses()) != 1:
            continue
        node.resize_inputs(5)
        node.replace_input_with(1, _product(part))
        node.replace_input_with(4, part.bias)
        changed += 1
    return changed


FUSIONS: tuple[Callable[[ir.Graph], int], ...] = (
    fuse_silu,
    pack_gate_up,
    pack_qkv,
    fuse_bias_gelu,
    fuse_skip_bias,
)
"""In the order that they run in."""


def _of_type(graph: ir.Graph, op_type: str) -> list[ir.Node]:
    return [node for node in graph if node.op_type == op_type]


def _is_vector(value: ir.Value | None) -> bool:
    return value is not None and value.is_initializer() and value.shape is not None and len(value.shape) == 1


def _before_activation(value: ir.Value | None) -> ir.Value | None:
    node = value.producer() if value is not None else None
    return node.inputs[0] if node is not None and node.op_type in ("QuickGelu", "Gelu") else value


def _before_norm(value: ir.Value | None) -> ir.Value | None:
    """Value before it was cut into heads, normed and put together again, and rotated; itself if it wasn't."""
    rotation = value.producer() if value is not None else None
    if rotation is not None and rotation.op_type == "RotaryEmbedding":
        value = rotation.inputs[0]
    before = value
    for op_type in ("Reshape", "RMSNormalization", "Reshape"):
        node = before.producer() if before is not None else None
        if node is None or node.op_type != op_type:
            return value
        before = node.inputs[0]
    return before


def _product(part: Projection) -> ir.Value:
    """A projection's value before its bias."""
    add = required(part.out.producer())
    return required(next(value for value in add.inputs if value is not part.bias))


def _packed(builder: GraphBuilder, parts: Sequence[Projection | None]) -> ir.Value | None:
    """Pack projections of one input, with their biases, into one MatMul; None where they aren't that."""
    projections = [part for part in parts if part is not None]
    inputs, weights = {id(part.x) for part in projections}, {id(part.weight) for part in projections}
    if len(projections) < len(parts) or len(inputs) != 1 or len(weights) == 1:
        return None
    biases = [part.bias for part in projections if part.bias is not None]
    if len(biases) not in (0, len(projections)):
        return None
    weight = builder.op("Concat", *(part.weight for part in projections), axis=0)
    product = builder.linear(projections[0].x, weight)
    return builder.op("Add", product, builder.op("Concat", *biases, axis=0)) if biases else product


def _split(builder: GraphBuilder, packed: ir.Value, parts: Sequence[Projection | None], before: ir.Node) -> None:
    """Cut a packed product into its parts and hand them to who used the separate ones."""
    projections = [part for part in parts if part is not None]
    sizes = [part.size for part in projections]
    split = builder.constant(sizes, f"split.{'.'.join(map(str, sizes))}")
    split.type = split.shape = None  # its numbers say both, and artifacts stay as they are from version to version
    pieces = builder.multi_op("Split", packed, split, outputs=len(projections), axis=-1)
    builder.insert_before(before)
    for part, piece in zip(projections, pieces, strict=True):
        piece.shape, piece.type = part.out.shape, part.out.type
        part.out.replace_all_uses_with(piece)
