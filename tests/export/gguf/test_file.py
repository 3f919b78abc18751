"""GGUF files: the order of rows, and the metadata."""

from __future__ import annotations

import gguf
import pytest
import torch
import transformers

from compress.checkpoint.model import Model
from compress.export.gguf.file import interleaved, unsupported_reason, write_gguf
from tests.support.models import copy_checkpoint


def test_rows_are_put_where_neighbors_rotate_together():
    heads, size = 2, 6
    weight = torch.arange(heads * size * 3).reshape(heads * size, 3)
    expected = torch.empty_like(weight)
    for head in range(heads):
        for i in range(size // 2):
            expected[head * size + 2 * i] = weight[head * size + i]
            expected[head * size + 2 * i + 1] = weight[head * size + i + size // 2]
    assert torch.equal(interleaved(weight, heads), expected)


def test_a_window_ends_the_context(tiny, tmp_path):
    write_gguf(Model.open(str(tiny("MistralForCausalLM", sliding_window=8))), tmp_path / "a.gguf")
    fields = gguf.GGUFReader(tmp_path / "a.gguf").fields
    assert fields["llama.context_length"].contents() == 8
    assert fields["general.file_type"].contents() == gguf.LlamaFileType.ALL_F32


def test_the_name_is_not_that_of_the_folder_in_which_a_variant_is_made(llama, tmp_path):
    staged = copy_checkpoint(llama, tmp_path / ".int8.0a5dc8ab.partial")
    write_gguf(Model.open(str(staged)), tmp_path / "a.gguf")
    assert gguf.GGUFReader(tmp_path / "a.gguf").fields["general.name"].contents() == "int8"


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("Llama", {}, None),
        ("Llama", {"head_dim": 64}, None),
        ("Llama", {"attention_bias": True}, None),
        ("Llama", {"hidden_act": "swish"}, None),
        ("Qwen3", {}, None),
        ("Llama", {"hidden_act": "gelu"}, "the activation gelu; llama.cpp computes silu in these families"),
        ("Mistral", {"hidden_act": "relu"}, "the activation relu; llama.cpp computes silu in these families"),
        (
            "Llama",
            {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}},
            "rotary embeddings of 16 of a head's 32 channels; llama.cpp rotates all of them",
        ),
        ("Llama", {"attention_bias": True, "head_dim": 64}, "biases of heads of 64 channels; 32 are needed"),
        ("Qwen3", {"attention_bias": True}, "biases of attention; llama.cpp's qwen3 has none"),
        ("Gemma2", {}, "gemma2 models; llama.cpp's llama, mistral, qwen2, qwen3 are written here"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(name, settings, reason):
    sizes = {"hidden_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = getattr(transformers, f"{name}Config")(**sizes, **settings)
    assert unsupported_reason(config) == reason
