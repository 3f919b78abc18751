"""What a config says of its rotations, held against the modules that transformers makes of it."""

from __future__ import annotations

import pytest
import torch
import transformers

from compress.modeling.rotations import rotary_width, rotations, switches, ungrouped_reason, unrotated_reason
from compress.modeling.transformers_private import rotary_embeddings

SIZES = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 32}
FACTORS = {"short_factor": [1.0] * 12, "long_factor": [2.0] * 12, "partial_rotary_factor": 0.75}
LONG = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 8, **FACTORS}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
LAYERS = ["sliding_attention", "full_attention"]


def config_of(name, **options):
    return getattr(transformers, f"{name}Config")(**{**SIZES, **options})


QUARTER = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.25}


@pytest.mark.parametrize(("config", "width"), [
    (config_of("Llama"), 32), (config_of("Qwen3", head_dim=24), 24), (config_of("Cohere"), 32),
    (config_of("GPTNeoX", rope_parameters=QUARTER), 8), (config_of("Falcon"), 32),
    (config_of("Phi3", rope_parameters=LONG, original_max_position_embeddings=8, pad_token_id=0), 24),
    (config_of("Gemma3Text", head_dim=48, layer_types=LAYERS), 48),
])  # fmt: skip
def test_the_width_is_that_of_the_frequencies(config, width):
    with torch.device("meta"):
        module = transformers.AutoModel.from_config(config)
    (rotary,) = rotary_embeddings(module)
    assert {2 * len(buffer) for _, buffer in rotary.named_buffers()} == {width}
    assert rotary_width(config) == width


def test_what_rotates_nothing_has_no_width():
    for config in (config_of("GPT2"), config_of("OPT"), config_of("Falcon", alibi=True), config_of("Bert")):
        assert (rotary_width(config), dict(switches(config)), unrotated_reason(config)) == (0, {}, None)
    assert rotary_width(config_of("GPTJ", rotary_dim=24)) == 24


def test_angles_change_where_transformers_changes_them():
    assert switches(config_of("Llama")) == {}
    assert switches(config_of("Llama", rope_parameters={**LONG, "rope_type": "yarn", "factor": 2.0})) == {}
    assert switches(config_of("Phi3", rope_parameters=LONG, original_max_position_embeddings=8, pad_token_id=0)) == {
        None: 8
    }
    assert switches(config_of("Llama", rope_parameters=LONG, max_position_embeddings=8)) == {}  # no text is longer
    assert switches(config_of("Llama", rope_parameters=DYNAMIC, max_position_embeddings=64)) == {None: 64}
    mixed = {"sliding_attention": {"rope_type": "default", "rope_theta": 1e4}, "full_attention": DYNAMIC}
    gemma = config_of("Gemma3Text", layer_types=LAYERS, rope_parameters=mixed, max_position_embeddings=64)
    assert switches(gemma) == {"full_attention": 64}
    assert set(rotations(gemma)) == set(LAYERS)


def test_layers_that_a_model_has_none_of_rotate_nothing():
    gemma = config_of("Gemma3Text", layer_types=["sliding_attention"] * 2)
    assert set(rotations(gemma)) == {"sliding_attention"}


@pytest.mark.parametrize(("config", "ungrouped", "unrotated"), [
    (config_of("Llama"), None, None),
    (config_of("Llama", head_dim=4), "heads of size 4, which 8 doesn't divide",
     "4 of a head's 4 channels are rotated, and 16 doesn't divide both"),
    (config_of("Llama", head_dim=120), None, "120 of a head's 120 channels are rotated, and 16 doesn't divide both"),
    (config_of("GPTJ", hidden_size=128, rotary_dim=24), None,
     "24 of a head's 64 channels are rotated, and 16 doesn't divide both"),
    (config_of("Llama", rope_parameters=DYNAMIC, max_position_embeddings=64), None,
     "their angles change after 64 tokens"),
    (config_of("GPT2", hidden_size=48), None, None),
])  # fmt: skip
def test_why_attention_is_not_fused(config, ungrouped, unrotated):
    assert ungrouped_reason(config) == ungrouped
    assert unrotated_reason(config) == unrotated
