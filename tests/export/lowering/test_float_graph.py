"""What a float graph depends on, so that it is kept for the next export and for no other."""

from __future__ import annotations

from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel

from compress.export.lowering.float_graph import GraphKey, graph_settings
from compress.modeling.architecture import Architecture
from compress.modeling.kinds import DECODER

SIZES = {"hidden_size": 64, "num_hidden_layers": 2}


def architecture(module_class=LlamaForCausalLM, **options):
    return Architecture(module_class, LlamaConfig(**{**SIZES, **options}), DECODER, {})


def test_settings_that_change_no_graph_are_left_out():
    settings = graph_settings(architecture())
    stored = architecture(dtype="float16", architectures=["LlamaForCausalLM"], name_or_path="./my-model")
    assert graph_settings(stored) == settings
    assert graph_settings(architecture(num_hidden_layers=3)) != settings
    assert graph_settings(architecture(LlamaModel)) != settings


def test_a_key_is_the_same_for_every_checkpoint_of_a_model():
    key = GraphKey.of(architecture(), ["a", "b"])
    assert key == GraphKey.of(architecture(dtype="float16"), ("a", "b"))
    assert hash(key) == hash(GraphKey.of(architecture(dtype="float16"), ("a", "b")))
    assert key != GraphKey.of(architecture(), ["a"])
    assert key != GraphKey.of(architecture(num_hidden_layers=3), ["a", "b"])
