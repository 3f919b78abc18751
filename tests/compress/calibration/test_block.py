"""Blocks: layers by another number, and where a scale can move without changing what a layer computes."""

import pytest
import torch
from torch import nn

from compress.calibration.block import Block, folds_of
from compress.weights.forms import Dense
from tests.support.checkpoints import build


def test_a_layer_is_renamed_with_all_that_it_holds():
    block = Block(
        "model.layers.3", "layer", {"model.layers.3.up.weight": Dense(torch.ones(2, 2))},
        {"model.layers.3.norm.weight": torch.ones(2)},
    )  # fmt: skip
    renamed = block.numbered(1)
    assert (renamed.name, renamed.stack) == ("model.layers.1", "model.layers")
    assert list(renamed.weights) == ["model.layers.1.up.weight"]
    assert list(renamed.vectors) == ["model.layers.1.norm.weight"]
    head = Block("head", "head", {}, {})
    assert head.numbered(1) is head


@pytest.mark.parametrize(
    ("name", "sources"),
    [
        ("LlamaForCausalLM", ["input_layernorm", "post_attention_layernorm", "mlp.up_proj", "self_attn.v_proj"]),
        ("BertModel", ["attention.self.value"]),
    ],
)
def test_a_fold_changes_nothing_that_the_layer_computes(name, sources):
    module = build(name)
    layers = module.model.layers if name.startswith("Llama") else module.encoder.layer
    prefix = "l"
    names = frozenset(f"{prefix}.{key}" for key in layers[0].state_dict())
    folds = folds_of(module.config, prefix, names)
    assert [fold.source.removeprefix("l.").removesuffix(".weight") for fold in folds] == sources
    ids = torch.arange(5, 15)[None]
    with torch.no_grad():
        before = module(ids)[0]
        for seed, fold in enumerate(folds):
            source = layers[0].get_parameter(fold.source.removeprefix("l."))
            scale = torch.rand(len(source), generator=torch.Generator().manual_seed(seed)) + 0.5
            source.div_(scale if source.ndim == 1 else scale[:, None])
            owner = layers[0].get_submodule(fold.source.removeprefix("l.").rpartition(".")[0])
            if isinstance(owner, nn.Linear) and owner.bias is not None:
                owner.bias.div_(scale)
            columns = scale.view(-1, 1, fold.head).expand(-1, fold.repeat, -1).reshape(-1)
            for consumer in fold.consumers:
                layers[0].get_parameter(consumer.removeprefix("l.")).mul_(columns)
        assert torch.allclose(module(ids)[0], before, atol=1e-5)


def test_a_layout_that_is_unknown_offers_none():
    assert folds_of(build("LlamaForCausalLM").config, "l", frozenset({"l.mixer.weight"})) == ()
