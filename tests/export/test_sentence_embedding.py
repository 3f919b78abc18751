"""Sentence encoders' modules as nodes of a graph, against what they compute in torch."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch

from compress.export.lowering.cast import cast_graph
from compress.export.sentence_embedding import append_sentence_embedding
from compress.modeling.sentence_chain import (
    ACTIVATIONS,
    POOLING_MODES,
    DenseLayer,
    LayerNorm,
    Normalize,
    Pooling,
    SentenceChain,
    Truncation,
)
from tests.support.graphs import empty_graph, run
from tests.support.tensors import gaussian

HIDDEN = gaussian(3, 5, 8)
RIGHT = torch.tensor([[1] * 5, [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]])


def chained(chain: SentenceChain) -> ir.Model:
    """A graph that hands hidden states on, and the modules behind it."""
    graph = empty_graph(hidden=ir.DataType.FLOAT, attention_mask=ir.DataType.INT64)
    graph.inputs[0].shape, graph.inputs[1].shape = ir.Shape(["batch", "s", 8]), ir.Shape(["batch", "s"])
    node = ir.node("Identity", [graph.inputs[0]])
    graph.append(node)
    (out,) = node.outputs
    out.name, out.type, out.shape = "last_hidden_state", graph.inputs[0].type, graph.inputs[0].shape
    graph.outputs.append(out)
    model = ir.Model(graph, ir_version=10)
    append_sentence_embedding(model, chain)
    return model


def embedded(model: ir.Model, mask: torch.Tensor, hidden: torch.Tensor = HIDDEN, **inputs: np.ndarray) -> torch.Tensor:
    """The graph's sentence embeddings."""
    graph = model.graph
    assert [value.name for value in graph.outputs] == ["last_hidden_state", "sentence_embedding"]
    arrays = run(graph, hidden=hidden.numpy(), attention_mask=mask.numpy(), **inputs)
    return torch.from_numpy(arrays[1])


@pytest.mark.parametrize("mask", [RIGHT, RIGHT.flip(1)], ids=["right", "left"])
def test_every_way_of_pooling(mask):
    chain = SentenceChain((Pooling(modes=POOLING_MODES, takes=8),))
    model = chained(chain)
    torch.testing.assert_close(embedded(model, mask), chain.embed(HIDDEN, mask))
    assert model.graph.outputs[1].shape == ir.Shape(["batch", 48])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_modules_behind_it(name):
    square = DenseLayer(weight=gaussian(8, 8), bias=None, activation=name, adds_input=True)
    narrow = DenseLayer(
        weight=gaussian(4, 8), bias=gaussian(4), activation=name, adds_input=True, residual=gaussian(4, 8)
    )
    norm = LayerNorm(weight=gaussian(4), bias=gaussian(4))
    chain = SentenceChain((Pooling(modes=("mean",), takes=8), square, narrow, norm, Normalize()))
    torch.testing.assert_close(embedded(chained(chain), RIGHT), chain.embed(HIDDEN, RIGHT))


@pytest.mark.parametrize(("size", "width"), [(3, 3), (20, 8)])
def test_what_is_cut_off(size, width):
    chain = SentenceChain((Pooling(modes=("mean",), takes=8), Normalize(), Truncation(size=size)))
    model = chained(chain)
    torch.testing.assert_close(embedded(model, RIGHT), chain.embed(HIDDEN, RIGHT))
    assert model.graph.outputs[1].shape == ir.Shape(["batch", width])


def test_a_prompt_that_doesnt_count_is_an_input_that_may_be_left_out():
    chain = SentenceChain((Pooling(modes=("cls", "max", "mean", "lasttoken"), takes=8, include_prompt=False),))
    model = chained(chain)
    torch.testing.assert_close(embedded(model, RIGHT), chain.embed(HIDDEN, RIGHT))
    mask, length = torch.tensor([[1] * 5, [0, 1, 1, 1, 1]]), 2
    without = torch.tensor([[0, 0, 1, 1, 1], [0, 0, 0, 1, 1]])
    shorter = embedded(model, mask, HIDDEN[:2], prompt_length=np.array(length))
    torch.testing.assert_close(shorter, chain.embed(HIDDEN[:2], without))


def test_the_embedding_is_computed_in_float32_whatever_the_graph_is():
    chain = SentenceChain((Pooling(modes=("weightedmean",), takes=8),))
    model = chained(chain)
    cast_graph(model, torch.float16)
    hidden, mask = torch.full((1, 700, 8), 2.0), torch.ones(1, 700, dtype=torch.long)  # the weights' sum is 245,350
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    _, actual = session.run(None, {"hidden": hidden.half().numpy(), "attention_mask": mask.numpy()})
    assert actual.dtype == np.float16
    assert actual.tolist() == [[2.0] * 8]
