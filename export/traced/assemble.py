"""Assemble a model's traced parts into one graph: layers inlined, weights and dynamic sizes named."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir
from torch import Tensor

from compress.graph.builder import GraphBuilder, required
from compress.onnx_names import PAST_PREFIX, PRESENT_PREFIX, past_name, present_name

_PARTS = ("key", "value")


def inline_layer(graph: ir.Graph, node: ir.Node, layer: ir.Graph, path: str, group: int) -> None:
    """Put a copy of a layer's graph where its node is, with its weights' names below the list of layers at ``path``.

    Constants are shared by all layers of a ``group``. A layer that has more outputs than its hidden states has its old
    keys and values as its last inputs, the new ones as its last outputs; they become the graph's own.
    """
    index = node.attributes["index"].as_int()
    inlined = layer.clone()
    inputs = [required(value) for value in node.inputs]
    if len(inlined.outputs) > 1:
        inputs += _add_cache_inputs(graph, index, list(inlined.inputs)[-2:])
    for value, outer in zip(list(inlined.inputs), inputs, strict=True):
        value.replace_all_uses_with(outer)
    _move_initializers(graph, inlined, f"{path}.{index}", f"traced.{group}")
    hidden, *cache = inlined.outputs
    inlined.outputs.clear()
    nodes = list(inlined)
    inlined.remove(nodes)
    for moved in nodes:
        moved.name = f"layer.{index}.{moved.name}"
        for value in moved.outputs:
            value.name = f"layer.{index}.{value.name}"
    graph.insert_before(node, nodes)
    before = node.outputs[0]
    if before.is_graph_output():
        hidden.name, before.name = before.name, None
    before.replace_all_uses_with(hidden, replace_graph_outputs=True)
    for part, value in zip(_PARTS, cache, strict=False):
        value.name = present_name(index, part)
        graph.outputs.append(value)
    graph.remove(node, safe=True)


def _add_cache_inputs(graph: ir.Graph, index: int, inputs: list[ir.Value]) -> list[ir.Value]:
    """Inputs of the graph for a layer's old keys and values, like ``inputs`` of the layer."""
    names = [past_name(index, part) for part in _PARTS]
    past = [ir.Value(name=n, type=value.type, shape=value.shape) for n, value in zip(names, inputs, strict=True)]
    graph.inputs.extend(past)
    return past


def _move_initializers(graph: ir.Graph, layer: ir.Graph, weights: str, constants: str) -> None:
    """Move a layer's initializers into the graph, their names behind those prefixes; what is there already serves."""
    for name, value in list(layer.initializers.items()):
        del layer.initializers[name]
        value.name = f"{weights}.{name}" if value.const_value is None else f"{constants}.{name}"
        existing = graph.initializers.get(value.name)
        if existing is None:
            graph.initializers.add(value)
        else:
            value.replace_all_uses_with(existing)


def transpose_weight(graph: ir.Graph, value: ir.Value) -> None:
    """Store a weight ``[in, out]`` as ``[out, in]``, with a Transpose behind it."""
    shape = required(value.shape)
    uses = list(value.uses())
    first = min((node for node, _ in uses), key=list(graph).index)
    builder = GraphBuilder(graph)
    transposed = builder.op("Transpose", value, perm=[1, 0])
    transposed.shape, transposed.type = shape, value.type
    value.shape = ir.Shape(list(shape)[::-1])
    builder.insert_before(first)
    for node, index in uses:
        node.replace_input_with(index, transposed)


def rename_weights(graph: ir.Graph, old: str, new: str, weights: Mapping[str, Tensor]) -> None:
    """Give initializers that stand for weights their names in the model: ``new`` where they begin with ``old``."""
    for name, value in list(graph.initializers.items()):
        if name in weights:
            del graph.initializers[name]
            value.name = new + name.removeprefix(old)
            graph.initializers.add(value)


def number_positions(graph: ir.Graph) -> None:
    """Number positions from 0 inside the graph, ``[b, s]``, in place of its input ``position_ids``.

    A decoder that embeds texts is called without them, padding or not: rotations go by distances alone.
    """
    ids = graph.inputs[0]
    positions = next(value for value in graph.inputs if value.name == "position_ids")
    builder = GraphBuilder(graph, "traced")
    row = builder.op("Range", builder.constant(0), builder.size(ids, 1), builder.constant(1))
    numbers = builder.op("Expand", builder.op("Unsqueeze", row, builder.constant([0])), builder.op("Shape", ids))
    numbers.type, numbers.shape = positions.type, positions.shape
    positions.replace_all_uses_with(numbers)
    builder.insert_before(next(iter(graph)))
    graph.inputs.remove(positions)


def name_dynamic_dims(graph: ir.Graph) -> None:
    """Name the sizes that vary as a built graph does; of values in between, those aren't known any more."""
    lengths = {"attention_mask": "past_seq_len + seq_len"}
    for value in graph.inputs:
        name = required(value.name)
        length = "past_sequence_len" if name.startswith(PAST_PREFIX) else lengths.get(name, "sequence_len")
        value.shape = _named(required(value.shape), length)
    for value in graph.outputs:
        if value.shape is not None:
            is_cache = required(value.name).startswith(PRESENT_PREFIX)
            value.shape = _named(value.shape, "past_sequence_len + sequence_len" if is_cache else "sequence_len")
    ends = {id(value) for value in [*graph.inputs, *graph.outputs]}
    for node in graph:
        for value in node.outputs:
            if id(value) not in ends and value.shape is not None and not value.shape.is_static():
                value.shape = ir.Shape([size if isinstance(size, int) else None for size in value.shape])


def _named(shape: ir.Shape, length: str) -> ir.Shape:
    sizes: list[int | str] = [size if isinstance(size, int) else length for size in shape]
    return ir.Shape(["batch", *sizes[1:]])
