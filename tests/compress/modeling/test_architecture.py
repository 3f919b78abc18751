"""Two architectures are equal where they make modules that are alike; sizes of a head and of a text."""

from __future__ import annotations

import pytest
import transformers

from compress.modeling.architecture import Architecture, head_size, longest_input
from compress.modeling.kinds import DECODER
from tests.support.checkpoints import SIZES


def llama(**settings: object) -> Architecture:
    config = transformers.LlamaConfig(**SIZES, **settings)
    return Architecture(transformers.LlamaForCausalLM, config, DECODER, {})


def test_two_are_equal_where_their_modules_are_alike() -> None:
    assert llama() == llama(architectures=["Other"], dtype="float16")
    assert len({llama(), llama(name_or_path="elsewhere"), llama(head_dim=16)}) == 2


def test_a_config_that_stays_as_it_is_makes_no_other_architecture() -> None:
    architecture = llama()
    assert architecture.resized(lambda config: None) is architecture
    narrower = architecture.resized(lambda config: setattr(config, "intermediate_size", 48))
    assert narrower.outline.shapes["model.layers.0.mlp.up_proj.weight"] == (48, 32)
    assert architecture.config.intermediate_size == 64


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        (transformers.LlamaConfig(max_position_embeddings=64), 64),
        (transformers.MptConfig(max_seq_len=48), 48),
        (transformers.BloomConfig(), 2048),
        (transformers.RobertaConfig(max_position_embeddings=64, pad_token_id=1), 62),
    ],
)
def test_the_longest_input_is_what_positions_allow(config: transformers.PretrainedConfig, tokens: int) -> None:
    assert longest_input(config) == tokens


def test_a_heads_size_is_the_configs_or_its_share_of_the_hidden_size() -> None:
    assert head_size(transformers.LlamaConfig(**SIZES)) == 8
    assert head_size(transformers.LlamaConfig(**SIZES, head_dim=12)) == 12
