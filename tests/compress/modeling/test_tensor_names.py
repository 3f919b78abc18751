"""Tensors by the names that older checkpoints and bare modules have."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from compress.checkpoint.model import Model
from compress.progress import Silent
from tests.support.checkpoints import Tensors, build, edit

IDS = torch.arange(5, 17)[None]


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    build("LlamaForCausalLM").save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


def test_old_norm_names_and_the_prefix(tmp_path: Path) -> None:
    real = build("BertModel")
    real.save_pretrained(tmp_path)
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}

    def age(tensors: Tensors) -> None:
        for name in list(tensors):
            aged = name
            for new, was in old.items():
                aged = aged.replace(new, was)
            tensors[f"bert.{aged}"] = tensors.pop(name)
        tensors["bert.embeddings.position_ids"] = torch.arange(64)

    edit(tmp_path, age)
    progress = Silent()
    model = Model.open(str(tmp_path), progress=progress)
    assert model.names == tuple(real.state_dict())
    assert progress.notices == []
    assert torch.equal(model.torch_module()(IDS)[0], real(IDS)[0])


def test_a_decoder_without_its_prefix(llama: Path) -> None:
    edit(llama, lambda tensors: [tensors.update({n.removeprefix("model."): tensors.pop(n)}) for n in list(tensors)])
    assert Model.open(str(llama)).names[0] == "model.embed_tokens.weight"


def test_heads_by_their_old_name_are_found(tmp_path):
    config = transformers.GPTNeoXConfig(
        hidden_size=64, intermediate_size=96, num_attention_heads=2, num_hidden_layers=2, vocab_size=331
    )
    module = transformers.GPTNeoXForCausalLM(config)
    module.save_pretrained(tmp_path)
    model = Model.open(str(tmp_path))
    assert "embed_out.weight" in model.shards.where
    assert torch.equal(model.tensor("lm_head.weight"), module.lm_head.weight)
