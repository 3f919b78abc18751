"""Every distance has a row in the table of biases, or the settings by which one has none are named."""

from __future__ import annotations

import pytest
import torch
from transformers import BertConfig, DebertaV2Config, MPNetConfig, PretrainedConfig, T5Config

from compress.modeling.position_buckets import mpnet_position_buckets, unbiased_reason


def test_mpnets_are_thirty_two() -> None:
    buckets = mpnet_position_buckets(torch.arange(-511, 512))
    assert sorted({16, *buckets.tolist()}) == list(range(32))  # 16 would be a distance of 0 ahead
    assert buckets[[511, 510, 512, 0, -1]].tolist() == [0, 1, 17, 15, 31]


@pytest.mark.parametrize(
    "config",
    [
        T5Config(),
        T5Config(relative_attention_num_buckets=8, relative_attention_max_distance=5),
        T5Config(relative_attention_num_buckets=64, relative_attention_max_distance=256),
        MPNetConfig(),
        MPNetConfig(relative_attention_num_buckets=64),
        DebertaV2Config(relative_attention=True, position_buckets=2),
        BertConfig(),
    ],
)
def test_settings_by_which_every_distance_has_a_bias(config: PretrainedConfig) -> None:
    assert unbiased_reason(config) is None


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (T5Config(relative_attention_max_distance=1), "=32 and relative_attention_max_distance=1, by which tokens "),
        (T5Config(relative_attention_max_distance=16), "by which tokens 16 apart have no bias"),
        (T5Config(relative_attention_max_distance=0), "max_distance=0, which make no buckets"),
        (T5Config(relative_attention_num_buckets=2), "num_buckets=2 and relative_attention_max_distance=128, which"),
        (DebertaV2Config(relative_attention=True, position_buckets=1), "position_buckets=1, which makes no buckets"),
        (MPNetConfig(relative_attention_num_buckets=16), "relative_attention_num_buckets=16, by which tokens 1 apart"),
        (MPNetConfig(relative_attention_num_buckets=0), "relative_attention_num_buckets=0, by which tokens 0 apart"),
    ],
)
def test_settings_by_which_some_distance_has_none(config: PretrainedConfig, reason: str) -> None:
    assert reason in (unbiased_reason(config) or "")
