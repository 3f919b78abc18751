"""The rewrites of ``fuse``, each a function from a float graph to the number of places that it changed.

Operators of the domain ``com.microsoft`` are onnxruntime's (its ContribOperators page); all have CPU kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnx_ir.tape import Tape

CONTRIB = "com.microsoft"


def fuse_silu(graph: ir.Graph) -> int:
    """``x * Sigmoid(x)`` as QuickGelu with a slope of 1."""
    changed = 0
    for node in list(graph):
        if node.op_type != "Mul":
            continue
        for i, value in enumerate(node.inputs):
            gate = value.producer() if value is not None else None
            if gate is not None and gate.op_type == "Sigmoid" and gate.inputs[0] is node.inputs[1 - i]:
                tape = Tape()
                out = tape.op("QuickGelu", [gate.inputs[0]], {"alpha": 1.0}, domain=CONTRIB)
                _replace(node, tape, [out])
                changed += 1
                break
    return changed


def pack_gate_up(graph: ir.Graph) -> int:
    """Two MatMuls of one input whose outputs are multiplied: one MatMul on both weights, and a Split."""
    changed = 0
    for node in list(graph):
        if node.op_type == "Mul" and len(pair := _projections(node)) == 2:
            changed += _pack(pair)
    return changed


def _projections(node: ir.Node) -> list[ir.Node]:
    """The MatMuls of one input that a product of a gate and its linear part comes from."""
    found = []
    for value in node.inputs:
        source = value.producer() if value is not None else None
        if source is not None and source.op_type in ("QuickGelu", "Gelu"):
            source = source.inputs[0].producer() if source.inputs[0] is not None else None
        if source is not None and source.op_type == "MatMul" and _weight(source) is not None:
            found.append(source)
    return found if len(found) == 2 and found[0].inputs[0] is found[1].inputs[0] else []


def _weight(matmul: ir.Node) -> ir.Value | None:
    """The ``[out, in]`` initializer that a MatMul uses through a Transpose."""
    value = matmul.inputs[1]
    turn = value.producer() if value is not None else None
    weight = turn.inputs[0] if turn is not None and turn.op_type == "Transpose" else None
    return weight if weight is not None and weight.is_initializer() else None


def _pack(parts: Sequence[ir.Node]) -> int:
    """Replace MatMuls of one input by one on their stacked weights, and a Split of its output."""
    weights = [_weight(part) for part in parts]
    sizes = [weight.shape[0] for weight in weights if weight is not None and weight.shape is not None]
    if len(set(sizes)) != 1:
        return 0
    tape = Tape()
    stacked = tape.op("Concat", weights, {"axis": 0})
    product = tape.op("MatMul", [parts[0].inputs[0], tape.op("Transpose", [stacked], {"perm": [1, 0]})])
    pieces = tape.op_multi_out("Split", [product], {"axis": -1, "num_outputs": len(parts)}, num_outputs=len(parts))
    first = parts[0]
    graph = first.graph
    assert graph is not None
    graph.insert_before(first, tape.nodes)
    for part, piece in zip(parts, pieces, strict=True):
        piece.shape, piece.type = part.outputs[0].shape, part.outputs[0].type
        ir.convenience.replace_all_uses_with(part.outputs[0], piece)
        graph.remove(part, safe=True)
    return 1


def _replace(node: ir.Node, tape: Tape, outputs: Sequence[ir.Value]) -> None:
    """Put a tape's nodes where a node is."""
    graph = node.graph
    assert graph is not None
    ir.convenience.replace_nodes_and_values(graph, node, [node], tape.nodes, node.outputs, outputs)


FUSIONS: tuple[Callable[[ir.Graph], int], ...] = (fuse_silu, pack_gate_up)
"""In the order that they run in."""
