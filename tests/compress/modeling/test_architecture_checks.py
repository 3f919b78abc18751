"""A config that makes no module, or one that can't run, is refused in one line before any work."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import transformers

from compress.checkpoint.model import Model
from compress.errors import ModelError
from compress.modeling.config_architecture import any_architecture
from tests.support.checkpoints import build, configure


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    build("LlamaForCausalLM").save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hidden_size": -64}, "transformers can't build a LlamaForCausalLM of it ("),
        ({"intermediate_size": -1}, "transformers can't build a LlamaForCausalLM of it (RuntimeError: "),
        ({"vocab_size": -5}, "transformers can't build a LlamaForCausalLM of it ("),
        ({"num_hidden_layers": -1}, "found no list of -1 layers"),
        ({"num_attention_heads": 0}, "config.json"),
        ({"num_attention_heads": "four"}, "config.json"),
        ({"hidden_act": "unknown"}, "transformers can't build a LlamaForCausalLM of it (KeyError: "),
        ({"rope_parameters": {"rope_type": "spiral", "rope_theta": 1e4}}, "config.json"),
        ({"rope_parameters": 5}, "config.json"),
        ({"rope_scaling": {"type": "spiral"}}, "config.json"),
        ({"architectures": 5}, "architectures is 5; a list of class names is needed"),
        ({"architectures": {"a": 1}}, "architectures is {'a': 1}; a list of class names is needed"),
        ({"architectures": [5]}, "architectures is [5]; a list of class names is needed"),
        ({"max_position_embeddings": "many"}, "config.json"),
        ({"rms_norm_eps": "small"}, "config.json"),
        ({"head_dim": -8}, "config.json"),
        ({"tie_word_embeddings": "maybe"}, "config.json"),
        ({"dtype": 5}, "dtype is 5; float32, float16, bfloat16 or float64 is needed"),
        ({"dtype": "int8"}, "dtype is torch.int8; float32"),
        ({"max_position_embeddings": 0}, "the model takes in 0 tokens at once; 4 are needed"),
        ({"max_position_embeddings": 3}, "the model takes in 3 tokens at once; 4 are needed"),
        ({"num_key_value_heads": 3}, "transformers can't run a LlamaForCausalLM of it (RuntimeError: The size of ten"),
        ({"num_key_value_heads": 8}, "transformers can't run a LlamaForCausalLM of it (RuntimeError: The size of ten"),
        ({"sliding_window": 0}, "transformers can't run a LlamaForCausalLM of it (RuntimeError: "),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 0.0}}, "rope_theta is 0, which no model computes"),
        ({"rms_norm_eps": -1.0}, "rms_norm_eps is -1, which no model computes with"),
        ({"note": "\ud800"}, "can't be read (half of a surrogate pair"),
    ],
)
def test_a_config_that_makes_no_module_is_the_models_fault_in_one_line(
    llama: Path, changes: dict[str, Any], reason: str
) -> None:
    configure(llama, **changes)
    with pytest.raises(ModelError, match=re.escape(reason)) as error:
        Model.open(llama)
    assert "\n" not in str(error.value)
    assert str(llama / "config.json") in str(error.value)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"num_decoder_layers": 0}, "an encoder or a decoder without layers is not supported"),
        ({"num_layers": 0, "num_decoder_layers": 1}, "an encoder or a decoder without layers is not supported"),
        ({"decoder_start_token_id": 96}, "decoder_start_token_id is 96, and there are 96 tokens"),
        ({"decoder_start_token_id": -1}, "decoder_start_token_id is -1, and there are 96 tokens"),
        ({"relative_attention_max_distance": 1}, "relative_attention_num_buckets=32 and relative_attention_max_"),
    ],
)
def test_an_encoder_decoder_that_cannot_begin_or_lacks_layers_or_biases(
    tmp_path: Path, settings: dict[str, int], reason: str
) -> None:
    sizes = {"vocab_size": 96, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_heads": 4, "num_layers": 1}
    transformers.T5Config(**{**sizes, **settings}).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=re.escape(f"config.json: {reason}")):
        any_architecture(tmp_path)


@pytest.mark.parametrize(
    ("class_name", "changes", "reason"),
    [
        ("Gemma3ForCausalLM", {"use_bidirectional_attention": True}, "by use_bidirectional_attention tokens see those"),
        ("Gemma2ForCausalLM", {"use_bidirectional_attention": True}, "by use_bidirectional_attention tokens see those"),
        ("LlamaForCausalLM", {"is_causal": False}, "by is_causal tokens see those that follow them"),
        (
            "BertModel",
            {"type_vocab_size": 0},
            "a BertModel of it (embeddings.token_type_embeddings.weight is without any",
        ),
        ("RobertaModel", {"type_vocab_size": 0}, "(embeddings.token_type_embeddings.weight is without any number)"),
        ("RobertaModel", {"pad_token_id": None}, "can't run a RobertaModel of it (TypeError: "),
        ("MPNetModel", {"relative_attention_num_buckets": 8}, "relative_attention_num_buckets=8, by which tokens"),
    ],
)
def test_what_would_fail_on_a_text_alone(tmp_path: Path, class_name: str, changes: dict[str, Any], reason: str) -> None:
    build(class_name).save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(ModelError, match=re.escape(reason)) as error:
        any_architecture(tmp_path)
    assert str(error.value).startswith(f"{file}: ")
    assert "\n" not in str(error.value)


def test_a_decoder_that_looks_ahead_embeds_sentences(tmp_path: Path) -> None:
    build("Gemma3TextModel", use_bidirectional_attention=True, num_key_value_heads=2).save_pretrained(tmp_path)
    assert any_architecture(tmp_path, embeds=True).class_name == "Gemma3TextModel"
