"""BART (Lewis et al., arXiv 1910.13461) and Marian: norms behind what was added, and positions in a table.

Marian's positions are sines that no checkpoint stores, and it doesn't normalize what it looks up.
"""

from __future__ import annotations

import onnx_ir as ir
from transformers import PretrainedConfig

from compress.export.seq2seq.caches import DecoderCaches, decoder_layers, positions
from compress.export.seq2seq.graph_builder import Draft

_EPSILON = 1e-5
_BEFORE = 2
"""Rows of BART's table of positions that no token stands at."""
ACTIVATION = "activation_function"


def encode(draft: Draft, config: PretrainedConfig, ids: ir.Value, visible: ir.Value) -> ir.Value:
    """The last hidden states of tokens ``[b, s]`` that see what is ``visible``, bool ``[b, 1, s, s]``."""
    hidden = _embedded(draft, config, "model.encoder", ids, positions(draft, ids))
    heads = config.encoder_attention_heads
    for i in range(config.encoder_layers):
        layer = f"model.encoder.layers.{i}"
        parts = [draft.linear(f"{layer}.self_attn.{part}_proj", hidden) for part in "qkv"]
        said, _ = draft.attention(parts, heads, (config.d_model // heads) ** -0.5, visible)
        said = draft.linear(f"{layer}.self_attn.out_proj", said)
        _, hidden = draft.add_norm(f"{layer}.self_attn_layer_norm", hidden, said, _EPSILON)
        _, hidden = draft.add_norm(f"{layer}.final_layer_norm", hidden, _mlp(draft, config, layer, hidden), _EPSILON)
    return hidden


def decode(draft: Draft, config: PretrainedConfig, ids: ir.Value, memory: DecoderCaches) -> ir.Value:
    """The logits of tokens ``[b, s]`` that follow on those in ``memory``."""
    hidden = _embedded(draft, config, "model.decoder", ids, positions(draft, ids, memory.length))
    scale = memory.size**-0.5
    for i in range(decoder_layers(config)):
        layer = f"model.decoder.layers.{i}"
        parts = [draft.linear(f"{layer}.self_attn.{part}_proj", hidden) for part in "qkv"]
        said = draft.linear(f"{layer}.self_attn.out_proj", memory.self_attention(i, parts, scale))
        _, hidden = draft.add_norm(f"{layer}.self_attn_layer_norm", hidden, said, _EPSILON)
        cross = f"{layer}.encoder_attn"
        queries = draft.linear(f"{cross}.q_proj", hidden)
        said = draft.linear(
            f"{cross}.out_proj", memory.cross_attention(i, queries, f"{cross}.k_proj", f"{cross}.v_proj", scale)
        )
        _, hidden = draft.add_norm(f"{layer}.encoder_attn_layer_norm", hidden, said, _EPSILON)
        _, hidden = draft.add_norm(f"{layer}.final_layer_norm", hidden, _mlp(draft, config, layer, hidden), _EPSILON)
    logits = draft.linear("lm_head" if "lm_head.weight" in draft.shapes else "model.shared", hidden)
    biased = "final_logits_bias" in draft.shapes
    return draft.op("Add", logits, draft.weight("final_logits_bias")) if biased else logits


def _mlp(draft: Draft, config: PretrainedConfig, layer: str, x: ir.Value) -> ir.Value:
    return draft.linear(f"{layer}.fc2", draft.activation(config.activation_function, draft.linear(f"{layer}.fc1", x)))


def _embedded(draft: Draft, config: PretrainedConfig, half: str, ids: ir.Value, at: ir.Value) -> ir.Value:
    """Tokens and where they stand."""
    words = draft.scaled(draft.gather("model.shared", ids), config.d_model**0.5 if config.scale_embedding else 1)
    if f"{half}.layernorm_embedding.weight" not in draft.shapes:
        return draft.op("Add", words, _sines(draft, config, half, at))
    places = draft.gather(f"{half}.embed_positions", draft.op("Add", at, draft.integers(_BEFORE)))
    return draft.add_norm(f"{half}.layernorm_embedding", words, places, _EPSILON)[1]


def _sines(draft: Draft, config: PretrainedConfig, half: str, at: ir.Value) -> ir.Value:
    """Marian's positions: from the checkpoint, or made as transformers makes them."""
    from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding

    if f"{half}.embed_positions.weight" in draft.shapes:
        return draft.gather(f"{half}.embed_positions", at)
    table = MarianSinusoidalPositionalEmbedding(config.max_position_embeddings, config.d_model).create_weight()
    return draft.op("Gather", draft.constant(table.numpy()), at, axis=0)
