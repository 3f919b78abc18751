"""Encoder and decoder of T5 (Raffel et al., arXiv 1910.10683): RMS norms, biases by distance, unscaled heads."""

from __future__ import annotations

import onnx_ir as ir
import torch
from transformers import PretrainedConfig

from compress.export.seq2seq.caches import DecoderCaches, decoder_layers, position_range, token_positions
from compress.export.seq2seq.model_builder import ModelBuilder
from compress.graph.masks import MASKED, bucketed_bias
from compress.modeling.transformers_private import t5_position_buckets

_TABLE = "{}.block.0.layer.0.SelfAttention.relative_attention_bias"
ACTIVATION = "dense_act_fn"


def encode(builder: ModelBuilder, config: PretrainedConfig, ids: ir.Value, visible: ir.Value) -> ir.Value:
    """Encode tokens ``[b, s]`` to their last hidden states under the mask ``visible``, bool ``[b, 1, s, s]``."""
    hidden = builder.gather("shared", ids)
    queries = token_positions(builder, ids)
    bias = _bias(builder, config, "encoder", queries, queries)
    bias = builder.op("Where", visible, bias, builder.constant(MASKED))
    epsilon = config.layer_norm_epsilon
    normed = builder.norm("encoder.block.0.layer.0.layer_norm", hidden, epsilon)
    for i in range(config.num_layers):
        layer = f"encoder.block.{i}.layer"
        projections = _projections(builder, f"{layer}.0.SelfAttention", normed)
        out, _ = builder.attention(projections, config.num_heads, 1.0, bias)
        out = builder.project(f"{layer}.0.SelfAttention.o", out)
        hidden, normed = builder.add_norm(f"{layer}.1.layer_norm", hidden, out, epsilon)
        out = _mlp(builder, config, f"{layer}.1.DenseReluDense", normed)
        hidden, normed = builder.add_norm(_next("encoder", i, config.num_layers), hidden, out, epsilon)
    return normed


def decode(builder: ModelBuilder, config: PretrainedConfig, ids: ir.Value, caches: DecoderCaches) -> ir.Value:
    """Decode tokens ``[b, s]`` that follow on those in ``caches`` to their logits."""
    hidden = builder.gather("shared", ids)
    queries = token_positions(builder, ids, caches.length)
    keys = position_range(builder, builder.op("Add", caches.length, builder.dim(ids, 1)))
    bias = _bias(builder, config, "decoder", queries, keys)
    epsilon, depth = config.layer_norm_epsilon, decoder_layers(config)
    normed = builder.norm("decoder.block.0.layer.0.layer_norm", hidden, epsilon)
    for i in range(depth):
        layer = f"decoder.block.{i}.layer"
        out = caches.self_attention(i, _projections(builder, f"{layer}.0.SelfAttention", normed), 1.0, bias)
        out = builder.project(f"{layer}.0.SelfAttention.o", out)
        hidden, normed = builder.add_norm(f"{layer}.1.layer_norm", hidden, out, epsilon)
        cross = f"{layer}.1.EncDecAttention"
        out = caches.cross_attention(i, builder.project(f"{cross}.q", normed), f"{cross}.k", f"{cross}.v", 1.0)
        hidden, normed = builder.add_norm(f"{layer}.2.layer_norm", hidden, builder.project(f"{cross}.o", out), epsilon)
        out = _mlp(builder, config, f"{layer}.2.DenseReluDense", normed)
        hidden, normed = builder.add_norm(_next("decoder", i, depth), hidden, out, epsilon)
    if config.scale_decoder_outputs:
        normed = builder.scaled(normed, config.d_model**-0.5)
    return builder.project("lm_head" if "lm_head.weight" in builder.shapes else "shared", normed)


def _next(stack: str, i: int, depth: int) -> str:
    """The norm that follows layer ``i`` of the encoder or the decoder."""
    return f"{stack}.final_layer_norm" if i + 1 == depth else f"{stack}.block.{i + 1}.layer.0.layer_norm"


def _projections(builder: ModelBuilder, name: str, x: ir.Value) -> list[ir.Value]:
    return [builder.project(f"{name}.{letter}", x) for letter in "qkv"]


def _mlp(builder: ModelBuilder, config: PretrainedConfig, name: str, x: ir.Value) -> ir.Value:
    """``wo(act(wi(x)))``, or ``wo(act(wi_0(x)) * wi_1(x))``."""
    if config.is_gated_act:
        gate = builder.activation(config.dense_act_fn, builder.project(f"{name}.wi_0", x))
        return builder.project(f"{name}.wo", builder.op("Mul", gate, builder.project(f"{name}.wi_1", x)))
    return builder.project(f"{name}.wo", builder.activation(config.dense_act_fn, builder.project(f"{name}.wi", x)))


def _bias(builder: ModelBuilder, config: PretrainedConfig, stack: str, queries: ir.Value, keys: ir.Value) -> ir.Value:
    """Position bias of every head, added to its score of each key for each query, ``[1, heads, s, t]``.

    The range that a distance falls in is transformers' own; from the largest on all are the same.
    """
    far = config.relative_attention_max_distance
    count, both_sides = config.relative_attention_num_buckets, stack == "encoder"
    buckets = t5_position_buckets(torch.arange(-far, far + 1), count, far, both_sides)
    distances = builder.op("Sub", keys, builder.op("Unsqueeze", queries, builder.constant([1])))
    lowest, highest = builder.constant(-far), builder.constant(far)
    index = builder.op("Add", builder.op("Clip", distances, lowest, highest), highest)
    return bucketed_bias(builder, builder.tensor(f"{_TABLE.format(stack)}.weight"), buckets.numpy(), index)
