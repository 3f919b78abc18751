"""Layers, linears and embeddings are found in modules of transformers."""

import pytest
import torch
from torch import nn

from compress.errors import ModelError
from compress.modeling.modules import (
    StandIn,
    bias_maker,
    layer_list,
    linears,
    replaced,
    stacks,
    table_names,
    text_config,
    transposed,
    transposed_weights,
)
from tests.support.checkpoints import build

T5 = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}


def build_t5():
    from transformers import T5Config, T5ForConditionalGeneration

    return T5ForConditionalGeneration(T5Config(vocab_size=96, **T5))


def build_gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=96, n_embd=32, n_layer=2, n_head=4))


def test_repeated_layers_are_one_list_or_two():
    llama, t5 = build("LlamaForCausalLM"), build_t5()
    assert [(path, len(layers)) for path, layers in stacks(llama)] == [("model.layers", 2)]
    assert [(path, len(layers)) for path, layers in stacks(t5)] == [("encoder.block", 2), ("decoder.block", 2)]
    llama.config.num_hidden_layers = 5
    with pytest.raises(ModelError, match="LlamaForCausalLM: found no list of 5 layers to walk over"):
        layer_list(llama)


def test_layers_are_replaced_inside_alone():
    module = build("LlamaForCausalLM")
    stack = layer_list(module)
    with replaced(module, stack, [nn.Identity()]):
        assert [type(layer) for layer in module.model.layers] == [nn.Identity]
    assert module.model.layers is stack[1]


def test_linears_are_those_of_torch_and_gpt2s():
    llama, gpt2 = build("LlamaForCausalLM"), build_gpt2()
    assert list(linears(llama.model.layers[0], "l"))[:2] == ["l.self_attn.q_proj.weight", "l.self_attn.k_proj.weight"]
    assert "lm_head.weight" in linears(llama)
    assert transposed_weights(llama) == frozenset()
    names = {
        f"h.{i}.{part}.weight" for i in range(2) for part in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    }
    assert transposed_weights(gpt2.transformer) == names
    assert torch.equal(transposed(torch.tensor([[1, 2, 3]])), torch.tensor([[1], [2], [3]]))
    assert transposed(torch.ones(2, 3)).is_contiguous()


def test_tied_tables_have_one_name():
    for tied, names in (
        (True, ["model.embed_tokens.weight"] * 2),
        (False, ["model.embed_tokens.weight", "lm_head.weight"]),
    ):
        module = build("LlamaForCausalLM", tie_word_embeddings=tied)
        assert table_names(module, module.get_input_embeddings(), module.get_output_embeddings()) == names


def test_the_layers_of_a_model_that_sees_too_are_those_of_its_text():
    from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, SiglipVisionConfig

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlavaConfig(
        text_config=LlamaConfig(**sizes, vocab_size=96), vision_config=SiglipVisionConfig(**sizes, image_size=32)
    )
    module = LlavaForConditionalGeneration(config)
    assert layer_list(module)[0] == "model.language_model.layers"
    assert text_config(config) is config.text_config
    assert text_config(config.text_config) is config.text_config


def test_the_bias_for_all_layers_is_made_in_the_first():
    module = build_t5()
    assert bias_maker(module.encoder.block) == "layer.0.SelfAttention"
    assert bias_maker(build("LlamaForCausalLM").model.layers) is None


def test_a_stand_in_has_the_attributes_of_what_it_stands_for():
    layer = build("LlamaForCausalLM").model.layers[0]
    stand_in = StandIn(layer)
    assert stand_in.self_attn is layer.self_attn
    assert list(stand_in.parameters()) == []
    with pytest.raises(AttributeError):
        stand_in.no_such_attribute  # noqa: B018
