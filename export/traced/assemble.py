"""One graph out of a model's traced parts: copies of layers put in, weights and sizes named."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir
from torch import Tensor


def inline_layer(graph: ir.Graph, node: ir.Node, layer: ir.Graph, path: str, kind: int) -> None:
    """Put a copy of a layer's graph where its node is, with its weights' names below the list of layers at ``path``.

    Constants are shared by all layers of a ``kind``. A layer that has more outputs than its hidden states has its old
    keys and values as its last inputs, the new ones as its last outputs; they become the graph's own.
    """
    index = node.attributes["index"].as_int()
    copied = layer.clone()
    given: list[ir.Value | None] = list(node.inputs)
    if len(copied.outputs) > 1:
        for what, value in zip(("key", "value"), list(copied.inputs)[-2:], strict=True):
            past = ir.Value(name=f"past_key_values.{index}.{what}", type=value.type, shape=value.shape)
            graph.inputs.append(past)
            given.append(past)
    for value, outer in zip(list(copied.inputs), given, strict=True):
        assert outer is not None
        value.replace_all_uses_with(outer)
    for name, value in list(copied.initializers.items()):
        del copied.initializers[name]
        value.name = f"{path}.{index}.{name}" if value.const_value is None else f"traced.{kind}.{name}"
        known = graph.initializers.get(value.name)
        if known is None:
            graph.initializers.add(value)
        else:
            value.replace_all_uses_with(known)
    outputs = list(copied.outputs)
    copied.outputs.clear()
    nodes = list(copied)
    copied.remove(nodes)
    for each in nodes:
        each.name = f"layer.{index}.{each.name}"
        for value in each.outputs:
            value.name = f"layer.{index}.{value.name}"
    graph.insert_before(node, nodes)
    before = node.outputs[0]
    if before.is_graph_output():
        outputs[0].name, before.name = before.name, None
    before.replace_all_uses_with(outputs[0], replace_graph_outputs=True)
    for what, value in zip(("key", "value"), outputs[1:], strict=False):
        value.name = f"present.{index}.{what}"
        graph.outputs.append(value)
    graph.remove(node, safe=True)


def transpose_weight(graph: ir.Graph, value: ir.Value) -> None:
    """Make of a weight ``[in, out]`` one of ``[out, in]`` with a Transpose behind it."""
    assert value.shape is not None
    uses = list(value.uses())
    first = min((node for node, _ in uses), key=list(graph).index)
    turned = ir.node("Transpose", [value], {"perm": [1, 0]})
    turned.outputs[0].shape, turned.outputs[0].type = value.shape, value.type
    value.shape = ir.Shape(list(value.shape)[::-1])
    graph.insert_before(first, turned)
    for node, index in uses:
        node.replace_input_with(index, turned.outputs[0])


def rename_weights(graph: ir.Graph, old: str, new: str, weights: Mapping[str, Tensor]) -> None:
    """Give initializers that stand for weights their names in the model."""
    for name, value in list(graph.initializers.items()):
        if name in weights:
            del graph.initializers[name]
            value.name = new + name.removeprefix(old)
            graph.initializers.add(value)


def name_dynamic_dims(graph: ir.Graph) -> None:
    """Name the sizes that vary as a built graph does; of values in between, those aren't known any more."""
    names = {"attention_mask": "past_seq_len + seq_len"}
    for value in graph.inputs:
        assert value.name is not None and value.shape is not None
        length = "past_sequence_len" if value.name.startswith("past_") else names.get(value.name, "sequence_len")
        value.shape = _named(value.shape, length)
    for value in graph.outputs:
        assert value.name is not None
        if value.shape is not None:
            cached = value.name.startswith("present.")
            value.shape = _named(value.shape, "past_sequence_len + sequence_len" if cached else "sequence_len")
    ends = {id(value) for value in [*graph.inputs, *graph.outputs]}
    for node in graph:
        for value in node.outputs:
            if id(value) not in ends and value.shape is not None and not value.shape.is_static():
                value.shape = ir.Shape([size if isinstance(size, int) else None for size in value.shape])


def _named(shape: ir.Shape, length: str) -> ir.Shape:
    sizes: list[int | str] = [size if isinstance(size, int) else length for size in shape]
    return ir.Shape(["batch", *sizes[1:]])
