"""Variants as they are written: tied heads, shards, the files that go with the weights."""

import json

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from compress.checkpoint.writing.writer import WriteOptions
from compress.export.targets.ort_cpu import OrtCpu
from tests.support.passes import make_variant
from tests.support.tensors import token_ids

TOKENS = token_ids(4, 24)


def make(source, pipeline, out, seed=0, options=None):
    return make_variant(source, pipeline, OrtCpu.capability, out, TOKENS, seed, options=options)


def test_dynamic_inputs_are_written_so_that_transformers_rounds_them(untied, tmp_path):
    variant = make(untied, "int8:act=dynamic:fallback=1", tmp_path / "v")
    scheme = json.loads((variant.path / "config.json").read_text())["quantization_config"]["config_groups"]["group_0"]
    assert scheme["input_activations"]["strategy"] == "token"
    assert scheme["format"] == "int-quantized"
    with torch.no_grad():
        theirs = AutoModelForCausalLM.from_pretrained(variant.path, dtype=torch.float32)(TOKENS).logits
        ours = variant.torch_module()(TOKENS).logits
    assert 0 < (theirs - ours).norm() / ours.norm() < 0.1


def test_a_tied_head_is_quantized_once_and_written_twice(llama, tmp_path):
    variant = make(llama, "int8", tmp_path / "v")
    stored = load_file(variant.path / "model.safetensors")
    assert torch.equal(stored["lm_head.weight_scale"], stored["model.embed_tokens.weight_scale"])
    assert "lm_head.weight" not in variant.manifest.weights
    assert json.loads((variant.path / "config.json").read_text())["tie_word_embeddings"] is False


def test_a_tied_head_left_float_stays_tied(llama, tmp_path):
    variant = make(llama, "int8:head=float:embed=float", tmp_path / "v")
    assert "lm_head.weight" not in load_file(variant.path / "model.safetensors")
    assert json.loads((variant.path / "config.json").read_text())["tie_word_embeddings"] is True


def test_large_checkpoints_are_sharded(untied, tmp_path):
    variant = make(untied, "int8", tmp_path / "v", options=WriteOptions(shard_bytes=40_000))
    assert len(list(variant.path.glob("model-*-of-*.safetensors"))) > 1
    with torch.no_grad():
        theirs = AutoModelForCausalLM.from_pretrained(variant.path, dtype=torch.float32)(TOKENS).logits
        assert torch.equal(theirs, variant.torch_module()(TOKENS).logits)
