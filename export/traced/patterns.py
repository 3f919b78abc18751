"""What transformers spells out and ONNX has one operator for, found in a traced graph: RMS norms and rotations.

Formulas are those of the ONNX operators ``RMSNormalization`` and ``RotaryEmbedding``. Cosines and sines are taken to be
the same for both halves of a head, as they are for every model that turns halves against each other; the parity gate
holds that against the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnx_ir.tape import Tape

_SWAPPED = (0, 2, 1, 3)
"""``[b, s, heads, size]`` to ``[b, heads, s, size]``, or back."""


def match_patterns(model: ir.Model) -> None:
    """Rewrite in place."""
    graph = model.graph
    for node in list(graph):
        match node.op_type:
            case "Mul":
                _norm(node)
            case "Add":
                _rotation(node)
            case "Gemm":
                _product(node)
    for node in list(graph):
        if node.op_type == "Attention":
            for i in range(3):
                _remove_transposes(node, i)
            _flatten(node)
    RemoveUnusedNodesPass()(model)


def _norm(node: ir.Node) -> None:
    """x / √(mean x² + ε) · weight."""
    for normed, weight in _both_orders(node):
        product = _producer(normed, "Mul")
        if product is None or weight is None or weight.shape is None or len(weight.shape) != 1:
            continue
        for x, factor in _both_orders(product):
            root = _producer(_input(_producer(factor, "Reciprocal")), "Sqrt")
            added = _producer(_input(root), "Add")
            mean = _producer(_input(added), "ReduceMean")
            square = _producer(_input(mean), "Pow")
            epsilon = _number(added.inputs[1]) if added is not None else None
            if square is None or epsilon is None or square.inputs[0] is not x or _number(square.inputs[1]) != 2:
                continue
            assert mean is not None
            if _numbers(mean.inputs[1] if len(mean.inputs) > 1 else None) == [-1]:
                tape = Tape()
                attributes = {"axis": -1, "epsilon": epsilon}
                _replace(node, tape, tape.op("RMSNormalization", [x, weight], attributes))
                return


def _rotation(node: ir.Node) -> None:
    """x · cos + (-x₂, x₁) · sin, x₁ and x₂ being the halves of every head ``[b, heads, s, size]``."""
    for straight, crossed in _both_orders(node):
        first, second = _producer(straight, "Mul"), _producer(crossed, "Mul")
        if first is None or second is None:
            continue
        for x, cos in _both_orders(first):
            for swapped, sin in _both_orders(second):
                if x is None or not _is_swapped(swapped, x):
                    continue
                tables = [_producer(table, "Unsqueeze") for table in (cos, sin)]
                if not all(table is not None and _numbers(table.inputs[1]) == [1] for table in tables):
                    continue
                tape = Tape()
                halves = [_half(tape, node, table.inputs[0]) for table in tables if table is not None]
                _replace(node, tape, tape.op("RotaryEmbedding", [x, *halves]))
                return


def _is_swapped(value: ir.Value | None, x: ir.Value) -> bool:
    """Whether a value is (-x₂, x₁)."""
    joined = _producer(value, "Concat")
    if joined is None or len(joined.inputs) != 2 or x.shape is None or not isinstance(x.shape[-1], int):
        return False
    half = x.shape[-1] // 2
    negative = _producer(joined.inputs[0], "Neg")
    right, left = _producer(_input(negative), "Slice"), _producer(joined.inputs[1], "Slice")
    if right is None or left is None or right.inputs[0] is not x or left.inputs[0] is not x:
        return False
    starts, ends = ([_numbers(part.inputs[at]) for part in (left, right)] for at in (1, 2))
    to_the_end = ends[1] is not None and ends[1][0] >= 2 * half
    return starts == [[0], [half]] and ends[0] == [half] and to_the_end


def _half(tape: Tape, node: ir.Node, table: ir.Value | None) -> ir.Value:
    """The first half of cosines or sines ``[b, s, size]``."""
    assert table is not None and table.shape is not None and node.graph is not None
    size = int(table.shape[-1])  # type: ignore[arg-type]
    ends = [constant(node.graph, np.array([at])) for at in (0, size // 2, -1)]
    half = tape.op("Slice", [table, *ends])
    half.shape, half.type = ir.Shape([*table.shape[:-1], size // 2]), table.type
    return half


def _product(node: ir.Node) -> None:
    """A Gemm with a transposed weight as MatMul and Add, which is what lowering looks for."""
    a, b, *bias = node.inputs
    plain = all(node.attributes.get_float(name, 1.0) == 1.0 for name in ("alpha", "beta"))
    if not plain or node.attributes.get_int("transA") or a is None or b is None:
        return
    tape = Tape()
    if node.attributes.get_int("transB"):
        b = tape.op("Transpose", [b], {"perm": [1, 0]})
    out = tape.op("MatMul", [a, b])
    added = [value for value in bias if value is not None]
    _replace(node, tape, tape.op("Add", [out, added[0]]) if added else out)


def _remove_transposes(node: ir.Node, at: int) -> None:
    """Hand attention its queries, keys or values without turning their heads there and back again.

    A rotation in between takes them as they come then.
    """
    value = node.inputs[at]
    whole = _input(_producer(_input(_producer(value, "Reshape")), "Reshape"))
    if whole is not None and value is not None and _same(whole.shape, value.shape):
        node.replace_input_with(at, whole)
        return
    turned = _turned_back(_input(_producer(value, "Reshape")))
    rotation = _producer(turned, "RotaryEmbedding")
    apart = _turned_back(rotation.inputs[0] if rotation is not None else turned)
    if value is None or apart is None or apart.shape is None or (rotation is None and turned is None):
        return
    heads, size = apart.shape[2], apart.shape[3]
    if not isinstance(heads, int) or not isinstance(size, int):
        return
    tape = Tape()
    assert node.graph is not None
    flat = _flat(tape, node.graph, apart, heads * size)
    if rotation is not None:
        flat = tape.op("RotaryEmbedding", [flat, *rotation.inputs[1:]], {"num_heads": heads})
    flat.shape, flat.type = value.shape, value.type
    node.graph.insert_before(node, tape.nodes)
    node.replace_input_with(at, flat)


def _turned_back(value: ir.Value | None) -> ir.Value | None:
    """What a Transpose of heads and tokens is of."""
    node = _producer(value, "Transpose")
    turned = node is not None and tuple(node.attributes.get_ints("perm", ())) == _SWAPPED
    return node.inputs[0] if turned and node is not None else None


def _flat(tape: Tape, graph: ir.Graph, apart: ir.Value, width: int) -> ir.Value:
    """``[b, s, heads, size]`` as ``[b, s, heads · size]``: what it was before, where that is all that was done."""
    before = _input(_producer(apart, "Reshape"))
    if before is not None and before.shape is not None and len(before.shape) == 3 and before.shape[2] == width:
        return before
    return tape.op("Reshape", [apart, constant(graph, np.array([0, 0, width]))])


def _flatten(node: ir.Node) -> None:
    """Hand attention's output on as it is where its heads are only told apart to be joined again."""
    out = node.outputs[0]
    for apart, _ in tuple(out.uses()):
        for joined, _ in tuple(apart.outputs[0].uses()):
            if apart.op_type == joined.op_type == "Reshape" and _same(joined.outputs[0].shape, out.shape):
                joined.outputs[0].replace_all_uses_with(out)


def _same(left: ir.Shape | None, right: ir.Shape | None) -> bool:
    return left is not None and right is not None and len(left) == len(right) and left[-1] == right[-1]


def constant(graph: ir.Graph, array: np.ndarray) -> ir.Value:
    """A small constant, kept once in the graph."""
    name = f"traced.{array.dtype}.{'x'.join(map(str, np.atleast_1d(array)))}.{array.ndim}"
    if name not in graph.initializers:
        tensor = ir.tensor(array, name=name)
        known = ir.TensorType(tensor.dtype)
        graph.initializers.add(ir.Value(name=name, type=known, shape=ir.Shape(array.shape), const_value=tensor))
    return graph.initializers[name]


def _producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """The node that a value comes from, if it is of that type."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == op_type else None


def _input(node: ir.Node | None) -> ir.Value | None:
    return node.inputs[0] if node is not None else None


def _both_orders(node: ir.Node) -> Iterator[tuple[ir.Value | None, ir.Value | None]]:
    yield node.inputs[0], node.inputs[1]
    yield node.inputs[1], node.inputs[0]


def _numbers(value: ir.Value | None) -> list[int] | None:
    if value is None or value.const_value is None:
        return None
    return [int(number) for number in np.atleast_1d(value.const_value.numpy())]


def _number(value: ir.Value | None) -> float | None:
    if value is None or value.const_value is None or value.const_value.size != 1:
        return None
    return float(value.const_value.numpy().item())


def _replace(node: ir.Node, tape: Tape, value: ir.Value) -> None:
    assert node.graph is not None
    nodes: Sequence[ir.Node] = tape.nodes
    ir.convenience.replace_nodes_and_values(node.graph, node, [node], nodes, node.outputs, [value])
