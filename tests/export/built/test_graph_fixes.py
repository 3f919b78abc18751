"""Fixed graphs of one attention against softmax written out: padding, windows, ALiBi, positions."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from transformers import BertConfig, BloomConfig, FalconConfig, LlamaConfig, RobertaConfig
from transformers.models.falcon.modeling_falcon import build_alibi_tensor
from transformers.models.roberta.modeling_roberta import RobertaEmbeddings

from compress.export.built.alibi import slopes
from compress.export.built.graph_fixes import _falcon_bias, fix_graph
from compress.graph.builder import GraphBuilder
from tests.support.graphs import empty_graph, output, run
from tests.support.tensors import gaussian

FLOAT, HEADS, SIZE, LENGTH = ir.DataType.FLOAT, 2, 8, 6
MASK = np.ones((2, LENGTH), np.int64)
MASK[1, :2] = 0
IDS = np.arange(2 * LENGTH).reshape(2, LENGTH) + 5


def attention_graph():
    """``ids`` that nothing reads, and one Attention without a mask, on queries, keys and values."""
    graph = empty_graph(input_ids=ir.DataType.INT64, q=FLOAT, k=FLOAT, v=FLOAT)
    builder = GraphBuilder(graph)
    output(graph, builder.op("Attention", *graph.inputs[1:], q_num_heads=HEADS, kv_num_heads=HEADS))
    builder.append()
    return graph


def attended(config, mask=MASK):
    """The fixed graph's output and its inputs ``[b, heads, s, size]``."""
    graph = attention_graph()
    fix_graph(ir.Model(graph, ir_version=11), config)
    q, k, v = (gaussian(2, LENGTH, HEADS * SIZE, seed=seed) for seed in range(3))
    (actual,) = run(graph, input_ids=IDS, q=q.numpy(), k=k.numpy(), v=v.numpy(), attention_mask=mask)
    return actual, [x.view(2, LENGTH, HEADS, SIZE).transpose(1, 2) for x in (q, k, v)]


def softmax_attention(q, k, v, visible, bias=0.0):
    """Attention written out; rows of queries that are padding mean nothing."""
    scores = (q @ k.transpose(2, 3) / SIZE**0.5 + bias).masked_fill(~visible, -1e9)
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2).numpy()


@pytest.mark.parametrize("window", [None, 3])
def test_padding_and_what_left_the_window_are_not_seen(window):
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    config = LlamaConfig(**sizes) if window else BertConfig(**sizes)
    config.sliding_window = window
    actual, qkv = attended(config)
    visible = torch.from_numpy(MASK).bool()[:, None, None].expand(2, 1, LENGTH, LENGTH)
    if window:
        behind = torch.arange(LENGTH)[:, None] - torch.arange(LENGTH)
        visible = visible & (behind < window)
    text = MASK.astype(bool)
    assert np.abs(actual - softmax_attention(*qkv, visible))[text].max() < 1e-5


def test_alibi_lowers_scores_by_the_distance():
    config = BloomConfig(hidden_size=16, n_head=2, n_layer=1)
    actual, qkv = attended(config)
    slopes = torch.tensor([2.0**-4, 2.0**-8]).view(1, 2, 1, 1)
    bias = -slopes * (torch.arange(LENGTH)[:, None] - torch.arange(LENGTH))
    visible = torch.from_numpy(MASK).bool()[:, None, None].expand(2, 1, LENGTH, LENGTH)
    assert np.abs(actual - softmax_attention(*qkv, visible, bias))[MASK.astype(bool)].max() < 1e-5


def test_falcons_biases_are_rounded_as_in_transformers():
    """Positions beyond 256, slopes and products have the 8 bits of bfloat16."""
    config = FalconConfig(hidden_size=6 * SIZE, num_attention_heads=6, alibi=True)
    mask = np.ones((2, 400), np.int64)
    mask[1, :100] = 0
    graph = empty_graph(attention_mask=ir.DataType.INT64)
    builder = GraphBuilder(graph)
    scale = SIZE**-0.5
    output(graph, _falcon_bias(builder, graph.inputs[0], slopes(config), scale))
    builder.append()
    (actual,) = run(graph, attention_mask=mask)
    expected = build_alibi_tensor(torch.from_numpy(mask), 6, torch.float32).view(2, 6, 1, 400) * scale
    assert np.array_equal(actual, expected.numpy())


def test_robertas_positions_skip_padding():
    """They are rows of a table that numbers itself."""
    config = RobertaConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=1, pad_token_id=1)
    graph = attention_graph()
    rows = ir.tensor(np.arange(32, dtype=np.float32), name="embeddings.position_embeddings.weight")
    table = ir.Value(name=rows.name, type=ir.TensorType(FLOAT), shape=ir.Shape([32]), const_value=rows)
    graph.initializers.add(table)
    builder = GraphBuilder(graph)
    output(graph, builder.op("Gather", table, graph.inputs[0]), "positions")
    builder.append()
    fix_graph(ir.Model(graph, ir_version=11), config)
    ids = IDS.copy()
    ids[0, 4:] = ids[1, :2] = 1
    states = np.zeros((2, LENGTH, HEADS * SIZE), np.float32)
    _, positions = run(graph, input_ids=ids, q=states, k=states, v=states, attention_mask=(ids != 1).astype(np.int64))
    expected = RobertaEmbeddings.create_position_ids_from_input_ids(torch.from_numpy(ids), 1)
    assert positions.tolist() == expected.tolist()
