"""The rewrites of ``fuse``, each a function from a float graph to the number of places that it changed.

Operators of the domain ``com.microsoft`` are onnxruntime's (see its ContribOperators page); all have CPU kernels. Left
out because they were slower there: MultiHeadAttention for encoders (by 5 to 15 %), which its standard Attention beats,
and packed q/k/v in front of that, which can't take it whole (by 1 % of a float MiniLM).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.tape import Tape

CONTRIB = "com.microsoft"


@dataclass(frozen=True)
class Projection:
    """``MatMul(x, Transpose(weight))``, plus a bias where there is one; ``out`` is its value."""

    x: ir.Value
    weight: ir.Value
    bias: ir.Value | None
    out: ir.Value

    @property
    def size(self) -> int:
        """How many outputs it has."""
        assert self.weight.shape is not None
        return int(self.weight.shape[0])  # type: ignore[arg-type]


def projection(value: ir.Value | None) -> Projection | None:
    """The projection that a value is the result of; None if it is something else, or its weight is packed already."""
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
    turn = node.inputs[1].producer()
    weight = turn.inputs[0] if turn is not None and turn.op_type == "Transpose" else None
    return Projection(node.inputs[0], weight, None, value) if weight is not None and weight.is_initializer() else None


def fuse_silu(graph: ir.Graph) -> int:
    """``x * Sigmoid(x)`` as QuickGelu with a slope of 1."""
    changed = 0
    for node in _of(graph, "Mul"):
        for i, value in enumerate(node.inputs):
            gate = value.producer() if value is not None else None
            if gate is not None and gate.op_type == "Sigmoid" and gate.inputs[0] is node.inputs[1 - i]:
                tape = Tape()
                _replace(node, tape, [tape.op("QuickGelu", [gate.inputs[0]], {"alpha": 1.0}, domain=CONTRIB)])
                changed += 1
                break
    return changed


def pack_gate_up(graph: ir.Graph) -> int:
    """A gate and an up projection, multiplied after the gate's activation: one MatMul and a Split."""
    changed = 0
    for node in _of(graph, "Mul"):
        parts = [projection(_before_activation(value)) for value in node.inputs]
        tape = Tape()
        packed = _packed(tape, parts)
        if packed is not None:
            _split(graph, tape, packed, parts, node)
            changed += 1
    return changed


def pack_qkv(graph: ir.Graph) -> int:
    """Three projections in front of GroupQueryAttention: one MatMul that it takes whole, or split for norms between."""
    changed = 0
    for node in _of(graph, "GroupQueryAttention"):
        straight = [projection(value) for value in node.inputs[:3]]
        parts = [projection(_before_norm(value)) for value in node.inputs[:3]]
        tape = Tape()
        packed = _packed(tape, parts)
        if packed is None:
            continue
        if all(straight):
            graph.insert_before(node, tape.nodes)
            for i, value in enumerate((packed, None, None)):
                node.replace_input_with(i, value)
        else:
            _split(graph, tape, packed, parts, node)
        changed += 1
    return changed


def fuse_bias_gelu(graph: ir.Graph) -> int:
    """A bias and the Gelu behind it: BiasGelu."""
    changed = 0
    for node in _of(graph, "Gelu"):
        part = projection(node.inputs[0])
        if part is None or part.bias is None or node.attributes.get_string("approximate", "none") != "none":
            continue
        tape = Tape()
        product = _product(part)
        _replace(node, tape, [tape.op("BiasGelu", [product, part.bias], domain=CONTRIB)])
        changed += 1
    return changed


def fuse_skip_bias(graph: ir.Graph) -> int:
    """A bias in front of a skip connection: the bias input of SkipLayerNormalization."""
    changed = 0
    for node in _of(graph, "SkipLayerNormalization"):
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


def _of(graph: ir.Graph, *kinds: str) -> list[ir.Node]:
    return [node for node in graph if node.op_type in kinds]


def _is_vector(value: ir.Value | None) -> bool:
    return value is not None and value.is_initializer() and value.shape is not None and len(value.shape) == 1


def _before_activation(value: ir.Value | None) -> ir.Value | None:
    node = value.producer() if value is not None else None
    return node.inputs[0] if node is not None and node.op_type in ("QuickGelu", "Gelu") else value


def _before_norm(value: ir.Value | None) -> ir.Value | None:
    """What a value was before it was cut into heads, normed and put together again; itself if it wasn't."""
    before = value
    for kind in ("Reshape", "RMSNormalization", "Reshape"):
        node = before.producer() if before is not None else None
        if node is None or node.op_type != kind:
            return value
        before = node.inputs[0]
    return before


def _product(part: Projection) -> ir.Value:
    """A projection's value before its bias."""
    add = part.out.producer()
    assert add is not None
    product = next(value for value in add.inputs if value is not part.bias)
    assert product is not None
    return product


def _packed(tape: Tape, parts: Sequence[Projection | None]) -> ir.Value | None:
    """One MatMul for projections of one input, with their biases; None where they aren't that."""
    projections = [part for part in parts if part is not None]
    inputs, weights = {id(part.x) for part in projections}, {id(part.weight) for part in projections}
    if len(projections) < len(parts) or len(inputs) != 1 or len(weights) == 1:
        return None
    biases = [part.bias for part in projections if part.bias is not None]
    if len(biases) not in (0, len(projections)):
        return None
    weight = tape.op("Concat", [part.weight for part in projections], {"axis": 0})
    out = tape.op("MatMul", [projections[0].x, tape.op("Transpose", [weight], {"perm": [1, 0]})])
    return tape.op("Add", [out, tape.op("Concat", biases, {"axis": 0})]) if biases else out


def _split(graph: ir.Graph, tape: Tape, packed: ir.Value, parts: Sequence[Projection | None], before: ir.Node) -> None:
    """Cut a packed product into its parts and hand them to who used the separate ones."""
    projections = [part for part in parts if part is not None]
    sizes = [part.size for part in projections]
    name = f"split.{'.'.join(map(str, sizes))}"
    if name not in graph.initializers:
        graph.initializers.add(ir.Value(name=name, const_value=ir.tensor(sizes, dtype=ir.DataType.INT64, name=name)))
    pieces = tape.op_multi_out("Split", [packed, graph.initializers[name]], {"axis": -1}, num_outputs=len(projections))
    graph.insert_before(before, tape.nodes)
    for part, piece in zip(projections, pieces, strict=True):
        piece.shape, piece.type = part.out.shape, part.out.type
        part.out.replace_all_uses_with(piece)


def _replace(node: ir.Node, tape: Tape, outputs: Sequence[ir.Value]) -> None:
    """Put a tape's nodes where a node is."""
    assert node.graph is not None
    ir.convenience.replace_nodes_and_values(node.graph, node, [node], tape.nodes, node.outputs, outputs)
