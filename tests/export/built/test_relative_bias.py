"""MPNet's position bias against transformers' own."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from transformers import MPNetConfig
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

from compress.export.built.relative_bias import relative_bias
from compress.graph.builder import GraphBuilder
from tests.support.graphs import empty_graph, output, run


@pytest.mark.parametrize("rows", [32, 40])
def test_biases_are_those_of_transformers(rows):
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "max_position_embeddings": 64}
    config = MPNetConfig(**sizes, architectures=["MPNetModel"], relative_attention_num_buckets=rows)
    torch.manual_seed(0)
    encoder = MPNetEncoder(config)
    graph = empty_graph(input_ids=ir.DataType.INT64)
    builder = GraphBuilder(graph)
    output(graph, relative_bias(builder, graph.inputs[0], config))
    builder.append()
    table = encoder.relative_attention_bias.weight.detach().numpy()
    graph.initializers["encoder.relative_attention_bias.weight"].const_value = ir.tensor(table)
    (actual,) = run(graph, input_ids=np.zeros((2, 40), np.int64))
    expected = encoder.compute_position_bias(torch.zeros(1, 40, 16)).detach().numpy()
    assert actual.shape == expected.shape == (1, 2, 40, 40)
    assert np.array_equal(actual, expected)
