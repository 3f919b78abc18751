"""Encoder and decoder of BART (Lewis et al., arXiv 1910.13461) and Marian: each sum is normalized, positions are rows.

Marian's positions are sines that no checkpoint stores, and it doesn't normalize what it looks up.
"""

from __future__ import annotations

import onnx_ir as ir
from transformers import PretrainedConfig

from compress.export.seq2seq.caches import DecoderCaches, decoder_layers, token_positions
from compress.export.seq2seq.model_builder import ModelBuilder

_EPSILON = 1e-5
_BEFORE = 2
"""Rows of BART's table of positions that no token stands at."""
ACTIVATION = "activation_function"


def encode(builder: ModelBuilder, config: PretrainedConfig, ids: ir.Value, visible: ir.Value) -> ir.Value:
    """Encode tokens ``[b, s]`` to their last hidden states under the mask ``visible``, bool ``[b, 1, s, s]``."""
    hidden = _embedded(builder, config, "model.encoder", ids, token_positions(builder, ids))
    heads = config.encoder_attention_heads
    for i in range(config.encoder_layers):
        layer = f"model.encoder.layers.{i}"
        projections = _self_attention_projections(builder, layer, hidden)
        out, _ = builder.attention(projections, heads, (config.d_model // heads) ** -0.5, visible)
        out = builder.project(f"{layer}.self_attn.out_proj", out)
        _, hidden = builder.add_norm(f"{layer}.self_attn_layer_norm", hidden, out, _EPSILON)
        out = _mlp(builder, config, layer, hidden)
        _, hidden = builder.add_norm(f"{layer}.final_layer_norm", hidden, out, _EPSILON)
    return hidden


def decode(builder: ModelBuilder, config: PretrainedConfig, ids: ir.Value, caches: DecoderCaches) -> ir.Value:
    """Decode tokens ``[b, s]`` that follow on those in ``caches`` to their logits."""
    hidden = _embedded(builder, config, "model.decoder", ids, token_positions(builder, ids, caches.length))
    scale = caches.size**-0.5
    for i in range(decoder_layers(config)):
        layer = f"model.decoder.layers.{i}"
        out = caches.self_attention(i, _self_attention_projections(builder, layer, hidden), scale)
        out = builder.project(f"{layer}.self_attn.out_proj", out)
        _, hidden = builder.add_norm(f"{layer}.self_attn_layer_norm", hidden, out, _EPSILON)
        cross = f"{layer}.encoder_attn"
        queries = builder.project(f"{cross}.q_proj", hidden)
        out = caches.cross_attention(i, queries, f"{cross}.k_proj", f"{cross}.v_proj", scale)
        out = builder.project(f"{cross}.out_proj", out)
        _, hidden = builder.add_norm(f"{layer}.encoder_attn_layer_norm", hidden, out, _EPSILON)
        out = _mlp(builder, config, layer, hidden)
        _, hidden = builder.add_norm(f"{layer}.final_layer_norm", hidden, out, _EPSILON)
    logits = builder.project("lm_head" if "lm_head.weight" in builder.shapes else "model.shared", hidden)
    biased = "final_logits_bias" in builder.shapes
    return builder.op("Add", logits, builder.tensor("final_logits_bias")) if biased else logits


def _self_attention_projections(builder: ModelBuilder, layer: str, x: ir.Value) -> list[ir.Value]:
    """Queries, keys and values of a layer."""
    return [builder.project(f"{layer}.self_attn.{letter}_proj", x) for letter in "qkv"]


def _mlp(builder: ModelBuilder, config: PretrainedConfig, layer: str, x: ir.Value) -> ir.Value:
    inner = builder.activation(config.activation_function, builder.project(f"{layer}.fc1", x))
    return builder.project(f"{layer}.fc2", inner)


def _embedded(
    builder: ModelBuilder, config: PretrainedConfig, stack: str, ids: ir.Value, positions: ir.Value
) -> ir.Value:
    """Embeddings of tokens ``[b, s]`` and of their positions ``[s]``, added up."""
    words = builder.scaled(builder.gather("model.shared", ids), config.d_model**0.5 if config.scale_embedding else 1)
    if f"{stack}.layernorm_embedding.weight" not in builder.shapes:
        return builder.op("Add", words, _sines(builder, config, stack, positions))
    places = builder.gather(f"{stack}.embed_positions", builder.op("Add", positions, builder.constant([_BEFORE])))
    return builder.add_norm(f"{stack}.layernorm_embedding", words, places, _EPSILON)[1]


def _sines(builder: ModelBuilder, config: PretrainedConfig, stack: str, positions: ir.Value) -> ir.Value:
    """Marian's positions: from the checkpoint, or made as transformers makes them."""
    from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding

    if f"{stack}.embed_positions.weight" in builder.shapes:
        return builder.gather(f"{stack}.embed_positions", positions)
    table = MarianSinusoidalPositionalEmbedding(config.max_position_embeddings, config.d_model).create_weight()
    return builder.op("Gather", builder.constant(table.numpy()), positions, axis=0)
