"""Models open from directories, single files and shards; what is wrong with one is said in a line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

from compress.checkpoint.model import Model
from compress.errors import ModelError
from compress.modeling.kinds import CLASSIFIER, DECODER, ENCODER, TaskKind
from compress.progress import Silent
from tests.support.checkpoints import build, configure, edit

IDS = torch.arange(5, 17)[None]


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    build("LlamaForCausalLM").save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("LlamaForCausalLM", DECODER),
        ("MistralForCausalLM", DECODER),
        ("Qwen2ForCausalLM", DECODER),
        ("Qwen3ForCausalLM", DECODER),
        ("BertModel", ENCODER),
        ("RobertaModel", ENCODER),
        ("DistilBertModel", ENCODER),
    ],
)
def test_every_supported_architecture_gives_what_transformers_gives(tmp_path: Path, name: str, kind: TaskKind) -> None:
    real = build(name)
    real.save_pretrained(tmp_path / "it")
    model = Model.open(str(tmp_path / "it"))
    assert (model.name, model.kind, model.class_name, model.tied) == ("it", kind, name, False)
    assert model.names == tuple(real.state_dict())
    assert model.parameters == sum(p.numel() for p in real.parameters())
    module = model.torch_module()
    assert type(module) is type(real)
    assert not module.training
    assert torch.equal(module(IDS)[0], real(IDS)[0])
    assert {p.device.type for p in model.meta_module().parameters()} == {"meta"}


def test_tensors_are_those_of_the_checkpoint(llama: Path) -> None:
    model, stored = Model.open(str(llama)), load_file(llama / "model.safetensors")
    assert torch.equal(model.tensor("model.norm.weight"), stored["model.norm.weight"])
    weight = model.weight("model.layers.1.mlp.down_proj.weight")
    assert weight.shape == (32, 64)
    assert torch.equal(weight.tensor, stored["model.layers.1.mlp.down_proj.weight"])
    with pytest.raises(ModelError, match="no tensor model.layers.9"):
        model.tensor("model.layers.9.mlp.down_proj.weight")


def test_half_precision_stays_half(tmp_path: Path) -> None:
    build("LlamaForCausalLM").to(torch.bfloat16).save_pretrained(tmp_path)
    model = Model.open(str(tmp_path))
    assert model.tensor("model.norm.weight").dtype == torch.bfloat16
    assert {p.dtype for p in model.torch_module().parameters()} == {torch.float32}
    assert {p.dtype for p in model.torch_module(torch.bfloat16).parameters()} == {torch.bfloat16}


def test_tied_weights_appear_once(tmp_path: Path) -> None:
    real = build("LlamaForCausalLM", tie_word_embeddings=True)
    real.save_pretrained(tmp_path)
    model = Model.open(str(tmp_path))
    assert model.tied
    assert "lm_head.weight" not in model.names
    assert model.parameters == sum(p.numel() for p in real.parameters())
    module = model.torch_module()
    assert module.lm_head.weight is module.model.embed_tokens.weight
    assert torch.equal(module(IDS).logits, real(IDS).logits)


@pytest.mark.parametrize("same", [True, False])
def test_a_stored_head_beside_a_tied_config(tmp_path: Path, same: bool) -> None:
    real, progress = build("LlamaForCausalLM"), Silent()
    if same:
        real.lm_head.weight.data.copy_(real.model.embed_tokens.weight)
    real.save_pretrained(tmp_path)
    configure(tmp_path, tie_word_embeddings=True)
    model = Model.open(str(tmp_path), progress=progress)
    assert model.tied is same
    assert ("lm_head.weight" in model.names) is not same
    notice = "the config says that the head is tied to the embedding, but they differ: read as untied"
    assert progress.notices == ([] if same else [notice])
    assert torch.equal(model.torch_module()(IDS).logits, real(IDS).logits)


@pytest.mark.parametrize("name", ["BertForMaskedLM", "RobertaForMaskedLM", "BertForQuestionAnswering"])
def test_an_encoder_with_another_head_is_its_base(tmp_path: Path, name: str) -> None:
    real, progress = build(name), Silent()
    real.save_pretrained(tmp_path)
    model = Model.open(str(tmp_path), progress=progress)
    assert model.kind is ENCODER
    assert model.class_name == model.config.architectures[0] == type(real.base_model).__name__
    assert model.names == tuple(real.base_model.state_dict())
    assert "were left out" in progress.notices[0]
    assert torch.equal(model.torch_module()(IDS)[0], real.base_model(IDS)[0])


@pytest.mark.parametrize(
    "name", ["RobertaForSequenceClassification", "DebertaV2ForSequenceClassification", "MPNetForTokenClassification"]
)
def test_a_classifier_keeps_its_head(tmp_path: Path, name: str) -> None:
    real, progress = build(name), Silent()
    real.save_pretrained(tmp_path)
    model = Model.open(str(tmp_path), progress=progress)
    assert (model.kind, model.class_name, model.config.architectures) == (CLASSIFIER, name, [name])
    assert model.names == tuple(real.state_dict())
    assert not any("classifier" in matrix for matrix in model.matrices)
    assert progress.notices == []
    assert torch.allclose(model.torch_module()(IDS)[0], real(IDS)[0], atol=1e-6)


def test_a_head_that_is_not_there_is_missed(tmp_path: Path) -> None:
    build("BertModel").save_pretrained(tmp_path)
    configure(tmp_path, architectures=["BertForSequenceClassification"])
    with pytest.raises(ModelError, match=r"lacks classifier.weight, which BertForSequenceClassification needs"):
        Model.open(str(tmp_path))


def test_a_directory_that_is_no_checkpoint(tmp_path: Path, llama: Path) -> None:
    with pytest.raises(ModelError, match=r"is not a checkpoint: it has no config\.json"):
        Model.open(str(tmp_path))
    with pytest.raises(ModelError, match="is a file; give the directory"):
        Model.open(str(llama / "config.json"))
    (llama / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"is not a checkpoint: .* no model\.safetensors"):
        Model.open(str(llama))


def test_a_tensor_that_is_missing_misshapen_or_unknown(llama: Path) -> None:
    progress = Silent()
    edit(llama, lambda tensors: tensors.update({"extra.weight": torch.ones(2)}))
    assert "extra.weight" not in Model.open(str(llama), progress=progress).names
    assert progress.notices == ["1 tensors that LlamaForCausalLM doesn't use were left out: extra.weight, …"]
    edit(llama, lambda tensors: tensors.update({"model.norm.weight": torch.ones(16)}))
    with pytest.raises(ModelError, match=r"model\.norm\.weight is \[16\], but by config\.json \[32\] is needed"):
        Model.open(str(llama))
    edit(llama, lambda tensors: tensors.pop("model.norm.weight"))
    with pytest.raises(ModelError, match=r"lacks model\.norm\.weight, which LlamaForCausalLM needs"):
        Model.open(str(llama))


def test_a_checkpoint_without_a_tokenizer(llama: Path) -> None:
    with pytest.raises(ModelError, match="has no tokenizer that can be read"):
        Model.open(str(llama)).tokenizer()


def test_a_matrix_is_out_by_in_however_it_is_stored(tmp_path):
    config = transformers.GPT2Config(n_embd=64, n_head=2, n_layer=2, vocab_size=331, n_positions=32)
    module = transformers.GPT2LMHeadModel(config)
    module.save_pretrained(tmp_path)
    model, name = Model.open(str(tmp_path)), "transformer.h.0.mlp.c_fc.weight"
    stored = module.state_dict()[name]
    assert stored.shape == (64, 256)
    assert model.shape(name) == model.weight(name).shape == (256, 64)
    assert torch.equal(model.weight(name).tensor, stored.T)
    assert torch.equal(model.tensor(name), stored)
    assert torch.equal(model.torch_module().state_dict()[name], stored)
