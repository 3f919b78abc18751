"""Match RMS norms and rotary embeddings that transformers spells out, and replace them by ONNX's operators.

Formulas are those of the ONNX operators ``RMSNormalization`` and ``RotaryEmbedding``. Cosines and sines are taken to be
the same for both halves of a head, as they are for every model that turns halves against each other; the parity gate
holds that against the model.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from compress.graph.builder import GraphBuilder, required

PREFIX = "traced"
"""Prefix of the constants of traced graphs."""
_SWAPPED = (0, 2, 1, 3)
"""``[b, s, heads, size]`` to ``[b, heads, s, size]``, or back."""


def match_patterns(model: ir.Model) -> None:
    """Replace every RMS norm, rotation and detour of heads of a traced graph in place."""
    graph, builder = model.graph, GraphBuilder(model.graph, PREFIX)
    for node in list(graph):
        match node.op_type:
            case "Mul":
                _norm(builder, node)
            case "Add":
                _rotation(builder, node)
            case "Gemm":
                _product(builder, node)
    for node in list(graph):
        if node.op_type == "Attention":
            for i in range(3):
                _remove_transposes(builder, node, i)
            _flatten(node)
    RemoveUnusedNodesPass()(model)


def _norm(builder: GraphBuilder, node: ir.Node) -> None:
    """x / √(mean x² + ε) · weight."""
    for normed, weight in _both_orders(node):
        product = _producer(normed, "Mul")
        if product is None or weight is None or weight.shape is None or len(weight.shape) != 1:
            continue
        for x, factor in _both_orders(product):
            epsilon = _epsilon_of_rms(factor, x)
            if epsilon is not None:
                norm = builder.op("RMSNormalization", x, weight, axis=-1, epsilon=epsilon)
                builder.replace(node, norm, rename=True)
                return


def _epsilon_of_rms(factor: ir.Value | None, x: ir.Value | None) -> float | None:
    """ε where ``factor`` is 1 / √(mean x² + ε) over the last axis; None where it is something else."""
    root = _producer(_input(_producer(factor, "Reciprocal")), "Sqrt")
    shifted = _producer(_input(root), "Add")
    mean = _producer(_input(shifted), "ReduceMean")
    square = _producer(_input(mean), "Pow")
    if shifted is None or mean is None or square is None:
        return None
    over_channels = _integers(mean.inputs[1] if len(mean.inputs) > 1 else None) == [-1]
    is_square = square.inputs[0] is x and _number(square.inputs[1]) == 2
    return _number(shifted.inputs[1]) if over_channels and is_square else None


def _rotation(builder: GraphBuilder, node: ir.Node) -> None:
    """x · cos + (-x₂, x₁) · sin, x₁ and x₂ being the halves of every head ``[b, heads, s, size]``."""
    for straight, crossed in _both_orders(node):
        first, second = _producer(straight, "Mul"), _producer(crossed, "Mul")
        if first is None or second is None:
            continue
        for x, cos in _both_orders(first):
            for swapped, sin in _both_orders(second):
                if x is None or not _is_swapped(swapped, x):
                    continue
                tables = [_table(value) for value in (cos, sin)]
                if all(table is not None for table in tables):
                    half_tables = [_half(builder, required(table)) for table in tables]
                    builder.replace(node, builder.op("RotaryEmbedding", x, *half_tables), rename=True)
                    return


def _table(value: ir.Value | None) -> ir.Value | None:
    """Cosines or sines ``[b, s, size]`` behind what has them for every head; None behind anything else."""
    node = _producer(value, "Unsqueeze")
    return node.inputs[0] if node is not None and _integers(node.inputs[1]) == [1] else None


def _is_swapped(value: ir.Value | None, x: ir.Value) -> bool:
    """Whether a value is (-x₂, x₁)."""
    joined = _producer(value, "Concat")
    if joined is None or len(joined.inputs) != 2 or x.shape is None or not isinstance(x.shape[-1], int):
        return False
    half = x.shape[-1] // 2
    negative = _producer(joined.inputs[0], "Neg")
    second, first = _producer(_input(negative), "Slice"), _producer(joined.inputs[1], "Slice")
    if second is None or first is None or second.inputs[0] is not x or first.inputs[0] is not x:
        return False
    starts, ends = ([_integers(part.inputs[slot]) for part in (first, second)] for slot in (1, 2))
    to_the_end = ends[1] is not None and ends[1][0] >= 2 * half
    return starts == [[0], [half]] and ends[0] == [half] and to_the_end


def _half(builder: GraphBuilder, table: ir.Value) -> ir.Value:
    """The first half of cosines or sines ``[b, s, size]``."""
    *lead, size = required(table.shape)
    half = int(size) // 2  # type: ignore[arg-type]  # channels don't vary
    out = builder.op("Slice", table, *(builder.constant([index]) for index in (0, half, -1)))
    out.shape, out.type = ir.Shape([*lead, half]), table.type
    return out


def _product(builder: GraphBuilder, node: ir.Node) -> None:
    """A Gemm with a transposed weight as MatMul and Add, which is what lowering looks for."""
    a, b, *bias = node.inputs
    plain = all(node.attributes.get_float(name, 1.0) == 1.0 for name in ("alpha", "beta"))
    if not plain or node.attributes.get_int("transA") or a is None or b is None:
        return
    if node.attributes.get_int("transB"):
        b = builder.op("Transpose", b, perm=[1, 0])
    out = builder.op("MatMul", a, b)
    if bias and bias[0] is not None:
        out = builder.op("Add", out, bias[0])
    builder.replace(node, out, rename=True)


def _remove_transposes(builder: GraphBuilder, node: ir.Node, index: int) -> None:
    """Hand attention its queries, keys or values without turning their heads there and back again.

    A rotation in between takes them as they come then.
    """
    value = node.inputs[index]
    flat = _input(_producer(_input(_producer(value, "Reshape")), "Reshape"))
    if flat is not None and value is not None and _same(flat.shape, value.shape):
        node.replace_input_with(index, flat)
        return
    transposed = _before_transpose(_input(_producer(value, "Reshape")))
    rotation = _producer(transposed, "RotaryEmbedding")
    by_head = _before_transpose(rotation.inputs[0] if rotation is not None else transposed)
    if value is None or by_head is None or by_head.shape is None or (rotation is None and transposed is None):
        return
    heads, size = by_head.shape[2], by_head.shape[3]
    if not isinstance(heads, int) or not isinstance(size, int):
        return
    flat = _flat(builder, by_head, heads * size)
    if rotation is not None:
        flat = builder.op("RotaryEmbedding", flat, *rotation.inputs[1:], num_heads=heads)
    flat.shape, flat.type = value.shape, value.type
    builder.insert_before(node)
    node.replace_input_with(index, flat)


def _before_transpose(value: ir.Value | None) -> ir.Value | None:
    """Input of a Transpose of heads and tokens."""
    node = _producer(value, "Transpose")
    return node.inputs[0] if node is not None and tuple(node.attributes.get_ints("perm", ())) == _SWAPPED else None


def _flat(builder: GraphBuilder, by_head: ir.Value, width: int) -> ir.Value:
    """``[b, s, heads, size]`` as ``[b, s, heads · size]``: what it was before, where that is all that was done."""
    before = _input(_producer(by_head, "Reshape"))
    if before is not None and before.shape is not None and len(before.shape) == 3 and before.shape[2] == width:
        return before
    return builder.op("Reshape", by_head, builder.constant([0, 0, width]))


def _flatten(node: ir.Node) -> None:
    """Hand attention's output on as it is where its heads are only told apart to be joined again."""
    out = node.outputs[0]
    for by_head, _ in tuple(out.uses()):
        for joined, _ in tuple(by_head.outputs[0].uses()):
            if by_head.op_type == joined.op_type == "Reshape" and _same(joined.outputs[0].shape, out.shape):
                joined.outputs[0].replace_all_uses_with(out)


def _same(first: ir.Shape | None, second: ir.Shape | None) -> bool:
    """Whether two shapes have as many axes and as many channels."""
    return first is not None and second is not None and len(first) == len(second) and first[-1] == second[-1]


def _producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """The node that a value comes from, if it is of that type."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == op_type else None


def _input(node: ir.Node | None) -> ir.Value | None:
    return node.inputs[0] if node is not None else None


def _both_orders(node: ir.Node) -> Iterator[tuple[ir.Value | None, ir.Value | None]]:
    yield node.inputs[0], node.inputs[1]
    yield node.inputs[1], node.inputs[0]


def _integers(value: ir.Value | None) -> list[int] | None:
    if value is None or value.const_value is None:
        return None
    return [int(number) for number in np.atleast_1d(value.const_value.numpy())]


def _number(value: ir.Value | None) -> float | None:
    if value is None or value.const_value is None or value.const_value.size != 1:
        return None
    return float(value.const_value.numpy().item())
