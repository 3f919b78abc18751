"""Relative position bias of MPNet (Song et al., arXiv 2004.09297): learned for each head and range of distances."""

from __future__ import annotations

import onnx_ir as ir
import torch
from transformers import PretrainedConfig

from compress.graph.builder import GraphBuilder
from compress.graph.masks import bucketed_bias
from compress.modeling.architecture import longest_input
from compress.modeling.classifier import classifier_class
from compress.modeling.position_buckets import mpnet_position_buckets

_TABLE = "encoder.relative_attention_bias.weight"


def relative_bias(builder: GraphBuilder, ids: ir.Value, config: PretrainedConfig) -> ir.Value:
    """Position bias of every head, added to its score of each key for each query, ``[1, heads, s, s]``.

    The range that a distance falls in is transformers' own.
    """
    longest = longest_input(config)
    buckets = mpnet_position_buckets(torch.arange(1 - longest, longest)).numpy()  # from a query to a key
    owner = "mpnet." if classifier_class("MPNetModel", config.architectures) else ""
    table = builder.weight(f"{owner}{_TABLE}", [config.relative_attention_num_buckets, config.num_attention_heads])
    zero, step, last = (builder.constant(number) for number in (0, 1, longest - 1))
    keys = builder.op("Range", zero, builder.size(ids, 1), step)
    queries = builder.op("Unsqueeze", builder.op("Sub", keys, last), builder.constant([1]))
    return bucketed_bias(builder, table, buckets, builder.op("Sub", keys, queries))
