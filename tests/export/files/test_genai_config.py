"""``genai_config.json``, read as JSON. That onnxruntime-genai runs by it is tests/export/targets/test_ort_cpu.py's."""

from __future__ import annotations

import json

import onnx_ir as ir
import pytest
from transformers import GenerationConfig, GPT2Config, LlamaConfig

from compress.export.files.genai_config import write_genai_config
from compress.graph.builder import GraphBuilder
from tests.support.graphs import empty_graph

LLAMA = LlamaConfig(
    hidden_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, vocab_size=99,
    max_position_embeddings=128,
)  # fmt: skip


def written(out, config=LLAMA, grouped=False, provider="cpu"):
    graph = empty_graph(input_ids=ir.DataType.INT64, attention_mask=ir.DataType.INT64)
    if grouped:
        builder = GraphBuilder(graph)
        builder.op("GroupQueryAttention", domain="com.microsoft")
        builder.append()
    write_genai_config(ir.Model(graph, ir_version=11), config, out, out, provider)
    return json.loads((out / "genai_config.json").read_text())


def test_sizes_are_the_models_and_names_those_of_its_graph(tmp_path):
    model = written(tmp_path)["model"]
    decoder = model["decoder"]
    assert (model["type"], model["vocab_size"], model["context_length"]) == ("llama", 99, 128)
    assert (decoder["num_hidden_layers"], decoder["head_size"]) == (3, 16)
    assert (decoder["num_attention_heads"], decoder["num_key_value_heads"]) == (4, 2)
    assert decoder["inputs"] == {
        "input_ids": "input_ids",
        "attention_mask": "attention_mask",
        "past_key_names": "past_key_values.%d.key",
        "past_value_names": "past_key_values.%d.value",
    }
    assert decoder["outputs"]["present_value_names"] == "present.%d.value"


def test_a_type_without_a_name_there_is_a_plain_decoder_with_as_many_heads(tmp_path):
    facts = written(tmp_path, GPT2Config(n_embd=64, n_layer=1, n_head=4))
    assert facts["model"]["type"] == "decoder"
    assert facts["model"]["decoder"]["num_key_value_heads"] == 4


@pytest.mark.parametrize("grouped", [True, False])
def test_the_cache_is_shared_where_the_operator_can(tmp_path, grouped):
    assert written(tmp_path, grouped=grouped)["search"]["past_present_share_buffer"] is grouped


def test_generation_takes_the_graph_of_the_last_token_where_there_is_one(tmp_path):
    assert written(tmp_path)["model"]["decoder"]["filename"] == "model.onnx"
    (tmp_path / "model_last_token.onnx").write_bytes(b"")
    assert written(tmp_path)["model"]["decoder"]["filename"] == "model_last_token.onnx"


def test_a_gpu_is_named_as_provider(tmp_path):
    options = written(tmp_path, provider="cuda")["model"]["decoder"]["session_options"]
    assert options["provider_options"] == [{"cuda": {}}]


def test_what_generation_says_counts_more_than_the_architecture(tmp_path):
    config = LlamaConfig(bos_token_id=None, eos_token_id=7, pad_token_id=None, vocab_size=99)
    ids = ("bos_token_id", "eos_token_id", "pad_token_id")
    assert [written(tmp_path, config)["model"][key] for key in ids] == [7, 7, 7]
    GenerationConfig(eos_token_id=[5, 6], bos_token_id=1).save_pretrained(tmp_path)
    assert [written(tmp_path, config)["model"][key] for key in ids] == [1, [5, 6], 5]
