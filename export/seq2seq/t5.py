"""T5 (Raffel et al., arXiv 1910.10683): norms of root mean squares, learned biases by distance, heads not scaled."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch
from transformers import PretrainedConfig

from compress.export.seq2seq.caches import DecoderCaches, decoder_layers, position_range, positions
from compress.export.seq2seq.graph_builder import Draft

_TABLE = "{}.block.0.layer.0.SelfAttention.relative_attention_bias"
_FAR = 1e9  # finite: a query that sees nothing at all would be NaN
ACTIVATION = "dense_act_fn"


def encode(draft: Draft, config: PretrainedConfig, ids: ir.Value, visible: ir.Value) -> ir.Value:
    """The last hidden states of tokens ``[b, s]`` that see what is ``visible``, bool ``[b, 1, s, s]``."""
    hidden = draft.gather("shared", ids)
    here = positions(draft, ids)
    bias = _bias(draft, config, "encoder", here, here)
    bias = draft.op("Where", visible, bias, draft.constant(np.array(-_FAR, np.float32)))
    epsilon = config.layer_norm_epsilon
    normed = draft.norm("encoder.block.0.layer.0.layer_norm", hidden, epsilon)
    for i in range(config.num_layers):
        layer = f"encoder.block.{i}.layer"
        said, _ = draft.attention(_parts(draft, f"{layer}.0.SelfAttention", normed), config.num_heads, 1.0, bias)
        said = draft.linear(f"{layer}.0.SelfAttention.o", said)
        hidden, normed = draft.add_norm(f"{layer}.1.layer_norm", hidden, said, epsilon)
        said = _mlp(draft, config, f"{layer}.1.DenseReluDense", normed)
        hidden, normed = draft.add_norm(_next("encoder", i, config.num_layers), hidden, said, epsilon)
    return normed


def decode(draft: Draft, config: PretrainedConfig, ids: ir.Value, memory: DecoderCaches) -> ir.Value:
    """The logits of tokens ``[b, s]`` that follow on those in ``memory``."""
    hidden = draft.gather("shared", ids)
    here = positions(draft, ids, memory.length)
    every = position_range(draft, draft.op("Add", memory.length, draft.dim(ids, 1)))
    bias = _bias(draft, config, "decoder", here, every)
    epsilon, depth = config.layer_norm_epsilon, decoder_layers(config)
    normed = draft.norm("decoder.block.0.layer.0.layer_norm", hidden, epsilon)
    for i in range(depth):
        layer = f"decoder.block.{i}.layer"
        said = memory.self_attention(i, _parts(draft, f"{layer}.0.SelfAttention", normed), 1.0, bias)
        said = draft.linear(f"{layer}.0.SelfAttention.o", said)
        hidden, normed = draft.add_norm(f"{layer}.1.layer_norm", hidden, said, epsilon)
        cross = f"{layer}.1.EncDecAttention"
        said = memory.cross_attention(i, draft.linear(f"{cross}.q", normed), f"{cross}.k", f"{cross}.v", 1.0)
        hidden, normed = draft.add_norm(f"{layer}.2.layer_norm", hidden, draft.linear(f"{cross}.o", said), epsilon)
        said = _mlp(draft, config, f"{layer}.2.DenseReluDense", normed)
        hidden, normed = draft.add_norm(_next("decoder", i, depth), hidden, said, epsilon)
    if config.scale_decoder_outputs:
        normed = draft.scaled(normed, config.d_model**-0.5)
    return draft.linear("lm_head" if "lm_head.weight" in draft.shapes else "shared", normed)


def _next(half: str, i: int, depth: int) -> str:
    """The norm behind layer ``i`` of a half."""
    return f"{half}.final_layer_norm" if i + 1 == depth else f"{half}.block.{i + 1}.layer.0.layer_norm"


def _parts(draft: Draft, name: str, x: ir.Value) -> list[ir.Value]:
    return [draft.linear(f"{name}.{part}", x) for part in "qkv"]


def _mlp(draft: Draft, config: PretrainedConfig, name: str, x: ir.Value) -> ir.Value:
    """``wo(act(wi(x)))``, or ``wo(act(wi_0(x)) * wi_1(x))``."""
    if config.is_gated_act:
        gate = draft.activation(config.dense_act_fn, draft.linear(f"{name}.wi_0", x))
        return draft.linear(f"{name}.wo", draft.op("Mul", gate, draft.linear(f"{name}.wi_1", x)))
    return draft.linear(f"{name}.wo", draft.activation(config.dense_act_fn, draft.linear(f"{name}.wi", x)))


def _bias(draft: Draft, config: PretrainedConfig, half: str, queries: ir.Value, keys: ir.Value) -> ir.Value:
    """What is added to every head's score of each key for each query, ``[1, heads, s, t]``.

    The range that a distance falls in is transformers' own; from the largest on all are the same.
    """
    from transformers.models.t5.modeling_t5 import T5Attention

    far = config.relative_attention_max_distance
    ranges = T5Attention._relative_position_bucket(
        torch.arange(-far, far + 1),
        bidirectional=half == "encoder",
        num_buckets=config.relative_attention_num_buckets,
        max_distance=far,
    )
    distances = draft.op("Sub", keys, draft.op("Unsqueeze", queries, draft.integers(1)))
    limits = (draft.constant(np.array(limit, np.int64)) for limit in (-far, far))
    known = draft.op("Add", draft.op("Clip", distances, *limits), draft.constant(np.array(far, np.int64)))
    rows = draft.gather(_TABLE.format(half), draft.op("Gather", draft.constant(ranges.numpy()), known, axis=0))
    return draft.op("Unsqueeze", draft.op("Transpose", rows, perm=[2, 0, 1]), draft.integers(0))
