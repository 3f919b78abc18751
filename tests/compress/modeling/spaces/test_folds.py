"""Where a scale can move without changing what a layer computes: who reads what is seen in a run."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from compress.modeling.architecture import Architecture
from compress.modeling.families import family_of
from compress.modeling.modules import is_linear, stacks, transposed_weights
from compress.modeling.spaces.folds import Fold, _traced, folds_of
from tests.support.checkpoints import build
from tests.support.tensors import random_scale

GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
IDS = torch.arange(5, 15)[None]


def folds_and_layer(name, **options):
    """The folds of the second layer of a tiny model, the model, that layer and its path."""
    module = build(name, **options)
    for parameter in module.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)  # biases start as zeros
    [(path, layers)] = stacks(module)
    family = family_of(module.config.model_type)
    return folds_of(Architecture(type(module), module.config, family.kind, {}), f"{path}.1"), module, layers[1]


def scale_columns(linear, columns, transposed):
    """Multiply a linear's columns, however it is stored."""
    linear.weight.mul_(columns[:, None] if transposed else columns)


def divide_rows(owner, fold, scale, transposed):
    """Divide a norm's gain, or a linear's rows, and the bias."""
    if is_linear(owner):
        owner.weight.div_(scale if transposed else scale[:, None])
    else:
        owner.weight.copy_((owner.weight + fold.offset) / scale - fold.offset)
    if getattr(owner, "bias", None) is not None:
        owner.bias.div_(scale)


@pytest.mark.parametrize(
    ("name", "options", "sources"),
    [
        (
            "LlamaForCausalLM",
            {},
            ["input_layernorm", "post_attention_layernorm", "self_attn.v_proj", "mlp.up_proj"],
        ),
        ("BertModel", {}, ["attention.self.value"]),
        (
            "Gemma2ForCausalLM",
            {"head_dim": 8},
            ["input_layernorm", "pre_feedforward_layernorm", "self_attn.v_proj", "mlp.up_proj"],
        ),
        (
            "Phi3ForCausalLM",
            {"pad_token_id": 0},
            ["input_layernorm", "post_attention_layernorm", "self_attn.qkv_proj", "mlp.gate_up_proj"],
        ),
        ("GPT2LMHeadModel", GPT2, ["ln_1", "ln_2", "attn.c_attn"]),
        ("CohereForCausalLM", {}, ["input_layernorm", "self_attn.v_proj", "mlp.up_proj"]),
        ("MixtralForCausalLM", {"num_local_experts": 4}, ["input_layernorm", "self_attn.v_proj"]),
        (
            "BloomForCausalLM",
            {"n_layer": 2},
            ["input_layernorm", "self_attention.query_key_value", "post_attention_layernorm"],
        ),
    ],
)  # fmt: skip
def test_a_fold_changes_nothing_that_the_model_computes(name, options, sources):
    folds, module, layer = folds_and_layer(name, **options)
    prefix = folds[0].source.partition(".1.")[0] + ".1."
    assert sorted(fold.source.removeprefix(prefix).removesuffix(".weight") for fold in folds) == sorted(sources)
    with torch.no_grad():
        before = module(IDS)[0]
        for fold in folds:
            scale, turned = random_scale(fold), transposed_weights(layer, prefix[:-1])
            owner = layer.get_submodule(fold.source.removeprefix(prefix).removesuffix(".weight"))
            divide_rows(owner, fold, scale, fold.source in turned)
            for consumer in fold.consumers:
                linear = layer.get_submodule(consumer.removeprefix(prefix).removesuffix(".weight"))
                scale_columns(linear, scale[fold.columns], consumer in turned)
        assert torch.allclose(module(IDS)[0], before, atol=1e-4, rtol=1e-4)


def test_a_norm_that_something_else_reads_too_offers_none():
    """A model of one's own: the norm's outputs are added to the residual stream in the last case."""
    folds, _, _ = folds_and_layer("BloomForCausalLM", n_layer=2, apply_residual_connection_post_layernorm=True)
    assert [fold.source.rpartition("self_attention.")[2] for fold in folds] == ["query_key_value.weight"]


def test_code_that_wants_numbers_offers_none(monkeypatch):
    def fails(*_):
        raise NotImplementedError("numbers")

    _traced.cache_clear()
    monkeypatch.setattr("compress.modeling.spaces.folds.trace", fails)
    assert folds_and_layer("LlamaForCausalLM")[0] == ()
    _traced.cache_clear()


def test_dropped_channels_leave_the_others_where_they_are():
    """Source channels 0 and 2 stay, and of the consumers' six inputs those that are of them."""
    fold = Fold("up", ("down",), torch.tensor([0, 0, 1, 1, 2, 2]), 3)
    rows, columns = torch.tensor([True, False, True]), torch.tensor([True, True, False, False, True, True])
    restricted = fold.restricted(rows, columns)
    assert (restricted.columns.tolist(), restricted.size) == ([0, 0, 1, 1], 2)


def test_it_goes_over_to_another_layer():
    fold = Fold("layers.0.up.weight", ("layers.0.down.weight",), torch.arange(2), 2)
    moved = replace(fold, source="layers.7.up.weight", consumers=("layers.7.down.weight",))
    assert fold.in_layer("layers.0", "layers.7") == moved
