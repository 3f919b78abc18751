"""Layers in the place of their nodes, with their own weights, shared constants and caches."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch

from compress.export.traced.assemble import inline_layer, name_dynamic_dims, rename_weights, transpose_weight
from compress.graph.builder import GraphBuilder
from tests.support.graphs import empty_graph, operators, output, run

FLOAT = ir.DataType.FLOAT


def layer(cached):
    """``hidden * weight + 1``; with a cache, sums of its old keys and values with the hidden states too."""
    names = ["hidden", *(["past_key", "past_value"] if cached else [])]
    graph = empty_graph(**dict.fromkeys(names, FLOAT))
    builder = GraphBuilder(graph)
    product = builder.op("Mul", graph.inputs[0], builder.weight("mlp.weight", [2]))
    output(graph, builder.op("Add", product, builder.constant(1.0, "one")), "out")
    for part, value in zip(("key", "value"), graph.inputs[1:], strict=False):
        output(graph, builder.op("Add", value, graph.inputs[0]), f"present_{part}")
    builder.append()
    return graph


def model(cached, layers=2):
    """A graph of so many layers, each inlined; and the outer graph's nodes are gone."""
    graph = empty_graph(x=FLOAT)
    value = graph.inputs[0]
    for index in range(layers):
        node = ir.node("Layer", [value], {"index": index}, domain="compress", num_outputs=1)
        graph.append(node)
        value = node.outputs[0]
    output(graph, value, "logits")
    inner = layer(cached)
    for node in list(graph):
        inline_layer(graph, node, inner, "model.layers", 0)
    return graph


def test_layers_have_weights_of_their_own_and_share_constants():
    graph = model(cached=False)
    assert operators(graph) == ["Mul", "Add"] * 2
    assert set(graph.initializers) == {"model.layers.0.mlp.weight", "model.layers.1.mlp.weight", "traced.0.one"}
    assert [value.name for value in graph.outputs] == ["logits"]
    for i in range(2):
        weight = graph.initializers[f"model.layers.{i}.mlp.weight"]
        weight.const_value = ir.tensor(np.array([2, 3], np.float32) + i, name=weight.name)
    (actual,) = run(graph, x=np.array([1, 1], np.float32))
    assert actual.tolist() == [(1 * 2 + 1) * 3 + 1, (1 * 3 + 1) * 4 + 1]


def test_caches_become_inputs_and_outputs_of_the_graph():
    graph = model(cached=True)
    caches = [f"{{}}.{i}.{part}" for i in range(2) for part in ("key", "value")]
    assert [value.name for value in graph.inputs] == ["x", *(name.format("past_key_values") for name in caches)]
    assert [value.name for value in graph.outputs] == ["logits", *(name.format("present") for name in caches)]


def test_names_of_nodes_and_values_are_those_of_their_layer():
    graph = model(cached=False)
    assert all(node.name.startswith(f"layer.{i // 2}.") for i, node in enumerate(graph))
    assert len({value.name for node in graph for value in node.outputs}) == 4


def test_a_weight_that_is_stored_the_other_way_gets_a_transpose():
    graph = empty_graph(x=FLOAT)
    builder = GraphBuilder(graph)
    weight = builder.weight("w", [2, 3])
    output(graph, builder.op("MatMul", graph.inputs[0], weight))
    builder.append()
    transpose_weight(graph, weight)
    assert operators(graph) == ["Transpose", "MatMul"]
    assert tuple(weight.shape) == (3, 2)
    weight.const_value = ir.tensor(np.arange(6, dtype=np.float32).reshape(3, 2), name="w")
    (actual,) = run(graph, x=np.eye(2, dtype=np.float32))
    assert actual.tolist() == [[0, 2, 4], [1, 3, 5]]


def test_only_weights_are_renamed():
    graph = empty_graph()
    builder = GraphBuilder(graph)
    builder.weight("inner.lm_head.weight", [1])
    builder.constant(1, "inner.one")
    rename_weights(graph, "inner.", "model.", {"inner.lm_head.weight": torch.ones(1)})
    assert set(graph.initializers) == {"model.lm_head.weight", "inner.one"}


def test_sizes_that_vary_are_named_as_in_a_built_graph():
    names = ("input_ids", "attention_mask", "past_key_values.0.key")
    graph = empty_graph(**dict.fromkeys(names, FLOAT))
    ids, mask, past = graph.inputs
    ids.shape, mask.shape, past.shape = (ir.Shape(shape) for shape in (["a", "b"], ["a", "c"], ["a", 2, "d", 8]))
    builder = GraphBuilder(graph)
    inner = builder.op("Neg", past)
    output(graph, builder.op("Abs", inner), "present.0.key")
    inner.shape = graph.outputs[0].shape = past.shape
    builder.append()
    name_dynamic_dims(graph)
    assert [str(value.shape) for value in (*graph.inputs, *graph.outputs, inner)] == [
        "[batch,sequence_len]",
        "[batch,past_seq_len + seq_len]",
        "[batch,2,past_sequence_len,8]",
        "[batch,2,past_sequence_len + sequence_len,8]",
        "[None,2,None,8]",
    ]
