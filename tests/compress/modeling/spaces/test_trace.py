"""Spaces of tiny models: what is found, and what stands in the way. That it is right, the families' logits tell."""

from __future__ import annotations

import pytest
import torch
import transformers

from compress.modeling.architecture import Architecture
from compress.modeling.families import family_of
from compress.modeling.spaces.trace import find_spaces
from tests.whole.test_families import FAMILIES as TINY


def spaces(family):
    class_name, settings = TINY[family]
    cls = getattr(transformers, class_name)
    config = cls.config_class(
        **{"vocab_size": 331, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2, **settings}
    )
    return find_spaces(Architecture(cls, config, family_of(config.model_type).kind, {}))


def test_a_stream_is_written_by_the_embedding_and_both_parts_of_every_layer():
    [stream] = spaces("Qwen2").streams
    layers = [f"model.layers.{i}.{part}.weight" for i in (0, 1) for part in ("self_attn.o_proj", "mlp.down_proj")]
    assert [writer.name for writer in stream.writers] == ["model.embed_tokens.weight", *layers]
    assert {writer.axis for writer in stream.writers} == {0, -1}
    assert len(stream.norms) == 5
    assert {reader.norm for reader in stream.readers} == stream.norms.keys()
    assert [reader.bias for reader in stream.readers][:4] == [
        *(f"model.layers.0.self_attn.{part}_proj.bias" for part in "qkv"),
        None,
    ]
    assert (stream.size, stream.centered, stream.tied, stream.in_heads) == (128, False, None, False)


def test_a_tied_head_reads_behind_a_gain_what_it_writes():
    [stream] = spaces("Llama").streams
    assert stream.tied == "model.embed_tokens.weight"


def test_shared_key_value_heads_are_read_several_times():
    heads = spaces("Llama").heads
    assert [head.rows.tolist() for head in heads] == [[list(range(64)), list(range(64, 128))]] * 2
    [reader] = heads[0].readers
    assert torch.equal(reader.columns.view(4, 64), heads[0].rows[[0, 0, 1, 1]])


@pytest.mark.parametrize(
    ("family", "first"), [("Phi-3, with a window", 256 + 128), ("GPT-2", 256), ("GPT-NeoX", 128), ("BLOOM", 128)]
)
def test_values_are_found_within_packed_projections(family, first):
    """Behind all queries and keys, or between those of one head and the next."""
    assert spaces(family).heads[0].rows[0].tolist() == list(range(first, first + 64))


def test_experts_and_their_router_read_the_stream():
    [stream] = spaces("Mixtral, with a window").streams
    names = {reader.name for reader in stream.readers}
    assert {"model.layers.1.mlp.experts.3.w1.weight", "model.layers.1.mlp.gate.weight"} <= names
    assert "model.layers.1.mlp.experts.3.w2.weight" in {writer.name for writer in stream.writers}


def test_tables_of_positions_write_the_stream_too():
    [stream] = spaces("GPT-2").streams
    assert {"transformer.wte.weight", "transformer.wpe.weight"} <= {writer.name for writer in stream.writers}
    [stream] = spaces("ViT").streams
    written = {writer.name: writer.axis for writer in stream.writers}
    patches = "vit.embeddings.patch_embeddings.projection.weight"
    assert (written["vit.embeddings.cls_token"], written["vit.embeddings.position_embeddings"]) == (-1, -1)
    assert written[patches] == 0


def test_both_stacks_of_an_encoder_decoder_share_a_stream():
    [stream] = spaces("T5").streams
    assert {"encoder.final_layer_norm", "decoder.final_layer_norm"} <= stream.norms.keys()
    assert len(spaces("T5").heads) == 6


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("Gemma 3", "model.layers.0.post_attention_layernorm is added to it with its gain"),
        ("BERT", "embeddings.LayerNorm is added to it with its gain"),
        ("BLOOM", "transformer.h.0.input_layernorm reads what transformer.word_embeddings_layernorm has normed"),
        ("DeBERTa-v2", "encoder.layer.0.attention.self.query_proj.weight reads it and something else"),
        ("BART", "model.encoder.layernorm_embedding is added to it with its gain"),
    ],
)
def test_why_a_stream_stays_as_it_is(family, reason):
    found = spaces(family)
    assert (found.streams, found.stream_reason) == ((), reason)
    assert found.heads
