"""Numbers in a config beyond all models are refused wherever they stand; those of the largest models are not."""

import math
from pathlib import Path

import pytest

from compress.errors import ModelError
from compress.modeling.bounds import check_bounds

FILE = Path("config.json")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"num_hidden_layers": 10**6}, "num_hidden_layers is 1,000,000, and no model of more than 2,000 can be read"),
        ({"num_labels": 3 * 10**7}, "num_labels is 30,000,000, and no model of more than 100,000 can be read"),
        ({"id2label": dict.fromkeys(map(str, range(100_001)))}, "id2label is 100,001, and no"),
        ({"text_config": {"n_layer": 1e9}}, "n_layer is 1,000,000,000, and no"),
        ({"encoder": {"decoder_layers": 2_001}}, "decoder_layers is 2,001, and no"),
        ({"num_local_experts": 10_001}, "num_local_experts is 10,001, and no"),
        ({"final_logit_softcapping": 0.0}, "final_logit_softcapping is 0, which no model computes with"),
        ({"text_config": {"query_pre_attn_scalar": -4}}, "query_pre_attn_scalar is -4, which no model"),
        ({"num_experts_per_tok": 0}, "num_experts_per_tok is 0, which no model computes with"),
        ({"layer_norm_epsilon": -1e-5}, "layer_norm_epsilon is -1e-05, which no model computes with"),
        ({"rms_norm_eps": math.nan}, "rms_norm_eps is nan, which no model computes with"),
        ({"rope_parameters": {"rope_theta": math.inf}}, "rope_theta is 1.79769313486e+308, which no model"),
        ({"rope_scaling": {"factor": 0}}, "factor is 0, which no model computes with"),
        ({"max_position_embeddings": 10**9}, "max_position_embeddings is 1,000,000,000, and no"),
        ({"max_position_embeddings": 10**400}, "max_position_embeddings is 1.79769313486e+308, and no"),
        ({"relative_attention_max_distance": 10**6}, "relative_attention_max_distance is 1,000,000, and no"),
        ({"num_hidden_layers": 1000, "num_experts": 1000}, "1,000 layers of 1,000 experts are more than can be read"),
    ],
)
def test_beyond_all_models(raw, message):
    with pytest.raises(ModelError) as error:
        check_bounds(FILE, raw)
    assert str(error.value).startswith(f"config.json: {message}")


@pytest.mark.parametrize(
    "raw",
    [
        {"num_hidden_layers": 126, "id2label": {str(i): "x" for i in range(21_843)}},
        {"num_hidden_layers": 94, "num_experts": 512},
        {
            "max_position_embeddings": 10_485_760,
            "rope_scaling": {"factor": 8.0},
            "relative_attention_max_distance": 128,
        },
        {"rms_norm_eps": 0.0, "final_logit_softcapping": None, "num_experts_per_tok": 2},
        {"num_hidden_layers": None, "num_labels": "many", "depth": -1},
        [],
        None,
    ],
)
def test_within(raw):
    check_bounds(FILE, raw)
