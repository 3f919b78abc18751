"""What a float graph depends on, so that it is kept for the next export and for no other."""

from dataclasses import replace

from transformers import LlamaConfig

from compress.export.lowering.float_graph import GraphKey, graph_settings

SIZES = {"hidden_size": 64, "num_hidden_layers": 2}


def test_settings_that_change_no_graph_are_left_out():
    settings = graph_settings("LlamaForCausalLM", LlamaConfig(**SIZES))
    stored = LlamaConfig(**SIZES, dtype="float16", architectures=["LlamaForCausalLM"], name_or_path="./my-model")
    assert graph_settings("LlamaForCausalLM", stored) == settings
    assert graph_settings("LlamaForCausalLM", LlamaConfig(**{**SIZES, "num_hidden_layers": 3})) != settings
    assert graph_settings("LlamaModel", LlamaConfig(**SIZES)) != settings


def test_a_key_is_the_same_whatever_the_graph_is_made_of():
    key = GraphKey("LlamaForCausalLM {}", ("a", "b"), fused=True, source="one checkpoint")
    assert {key, replace(key, source="another")} == {key}
    others = [replace(key, fused=False), replace(key, names=("a",)), replace(key, settings="LlamaModel {}")]
    assert len({key, *others}) == 4
