"""The builder's layers on onnxruntime against torch's own."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from transformers.activations import ACT2FN

from compress.export.seq2seq.model_builder import ACTIVATIONS, ModelBuilder
from tests.support.graphs import operators, output, run
from tests.support.tensors import gaussian

X = gaussian(2, 5, 16)
WEIGHT, BIAS, GAIN = gaussian(8, 16, seed=1), gaussian(16, seed=2), gaussian(16, seed=3)


def outputs(build, tensors=None, fused=False, **inputs):
    """What ``build(builder, *inputs)`` gives, with those tensors as the checkpoint's; and the operators."""
    tensors = tensors or {}
    builder = ModelBuilder("graph", {name: tuple(tensor.shape) for name, tensor in tensors.items()}, fused)
    values = build(builder, *(builder.input(name, tensor.shape) for name, tensor in inputs.items()))
    for i, value in enumerate(values if isinstance(values, tuple | list) else [values]):
        output(builder.graph, value, f"out.{i}")
    graph = builder.build().graph
    for name, tensor in tensors.items():
        if name in graph.initializers:
            graph.initializers[name].const_value = ir.tensor(tensor.numpy())
    return run(graph, **{name: tensor.numpy() for name, tensor in inputs.items()}), operators(graph)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_of_transformers(name):
    (actual,), _ = outputs(lambda builder, x: builder.activation(name, x), x=X)
    assert np.abs(actual - ACT2FN[name](X).numpy()).max() < 1e-5


@pytest.mark.parametrize("biased", [True, False])
def test_a_linear_has_the_bias_that_the_checkpoint_has(biased):
    tensors = {"fc.weight": WEIGHT, **({"fc.bias": BIAS[:8]} if biased else {})}
    (actual,), names = outputs(lambda builder, x: builder.project("fc", x), tensors, x=X)
    expected = X @ WEIGHT.T + (BIAS[:8] if biased else 0)
    assert np.abs(actual - expected.numpy()).max() < 1e-5
    assert ("Add" in names) == biased


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("biased", [True, False])
def test_a_norm_without_a_bias_is_one_of_root_mean_squares(biased, fused):
    tensors = {"ln.weight": GAIN, **({"ln.bias": BIAS} if biased else {})}
    update = gaussian(2, 5, 16, seed=4)
    (total, normed), names = outputs(
        lambda builder, x, y: builder.add_norm("ln", x, y, 1e-5), tensors, fused, x=X, y=update
    )
    added = X + update
    if biased:
        expected = torch.nn.functional.layer_norm(added, (16,), GAIN, BIAS, 1e-5)
    else:
        expected = torch.nn.functional.rms_norm(added, (16,), GAIN, 1e-5)
    assert np.abs(total - added.numpy()).max() < 1e-6
    assert np.abs(normed - expected.numpy()).max() < 1e-5
    skip = "SkipLayerNormalization" if biased else "SkipSimplifiedLayerNormalization"
    assert names == ([skip] if fused else ["Add", "LayerNormalization" if biased else "RMSNormalization"])


def test_a_factor_of_one_costs_nothing():
    (actual,), names = outputs(lambda builder, x: builder.scaled(x, 2.5), x=X)
    assert np.array_equal(actual, 2.5 * X.numpy())
    builder = ModelBuilder("graph", {}, False)
    x = builder.input("x", [2])
    assert builder.scaled(x, 1.0) is x
    assert names == ["Mul"]


def test_attention_behind_a_past_looks_back_alone_and_leaves_all_keys():
    q, k, v = (gaussian(1, 3, 16, seed=seed) for seed in (5, 6, 7))
    past = [gaussian(1, 2, 4, 8, seed=seed) for seed in (8, 9)]

    def build(builder, q, k, v, keys, values):
        out, cache = builder.attention((q, k, v), 2, 0.5, past=(keys, values))
        return [out, *cache]

    (actual, keys, _), _ = outputs(build, q=q, k=k, v=v, keys=past[0], values=past[1])
    by_head = [x.view(1, 3, 2, 8).transpose(1, 2) for x in (q, k, v)]
    every = [torch.cat([old, new], 2) for old, new in zip(past, by_head[1:], strict=True)]
    visible = torch.arange(7) <= torch.arange(4, 7)[:, None]
    scores = (0.5 * by_head[0] @ every[0].transpose(2, 3)).masked_fill(~visible, -1e9)
    expected = (scores.softmax(-1) @ every[1]).transpose(1, 2).flatten(2)
    assert np.abs(actual - expected.numpy()).max() < 1e-5
    assert np.array_equal(keys, every[0].numpy())


def test_equal_constants_of_any_size_are_one():
    builder = ModelBuilder("graph", {}, False)
    table = np.arange(1000, dtype=np.float32)
    assert builder.constant(table) is builder.constant(table.copy())
    assert builder.constant(table) is not builder.constant(table.reshape(10, 100))
    assert builder.constant(1) is not builder.constant(1.0)
