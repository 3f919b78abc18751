"""Models open from directories, single files and shards; what is wrong with one is said in a line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from compress.checkpoint.model import Model
from compress.errors import ModelError, UsageError
from compress.modeling.kinds import CLASSIFIER, DECODER, ENCODER, TaskKind
from compress.progress import Silent

Tensors = dict[str, torch.Tensor]
SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
DISTILBERT = {"vocab_size": 96, "dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 64}
IDS = torch.arange(5, 17)[None]


def build(name: str, **options: Any) -> PreTrainedModel:
    cls = getattr(transformers, name)
    sizes = DISTILBERT if name.startswith("Distil") else SIZES
    if name.endswith("CausalLM"):
        sizes = {**sizes, "num_key_value_heads": 2}
    if name.startswith("Qwen3"):
        sizes = {**sizes, "head_dim": 8}
    torch.manual_seed(0)
    return cls(cls.config_class(**sizes, **options)).eval()


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    build("LlamaForCausalLM").save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    build("LlamaForCausalLM").save_pretrained(tmp_path / "sharded", max_shard_size="30KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) >= 2
    return tmp_path / "sharded"


def edit(path: Path, change: Callable[[Tensors], object]) -> None:
    tensors = load_file(path / "model.safetensors")
    change(tensors)
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


def configure(path: Path, **changes: Any) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({k: v for k, v in {**config, **changes}.items() if v is not None}))


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


def test_shards_are_one_model(sharded: Path, llama: Path) -> None:
    one, many = Model.open(str(llama)), Model.open(str(sharded))
    assert one.names == many.names
    assert one.parameters == many.parameters
    assert all(torch.equal(one.tensor(name), many.tensor(name)) for name in one.names)


def test_the_digest_is_that_of_the_files(llama: Path) -> None:
    first = hashlib.sha256((llama / "model.safetensors").read_bytes()).hexdigest()
    wanted = hashlib.sha256(f"{first}  model.safetensors\n".encode()).hexdigest()
    assert Model.open(str(llama)).digest == wanted
    edit(llama, lambda tensors: tensors["model.norm.weight"].add_(1))
    assert Model.open(str(llama)).digest != wanted


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
    real, told = build("LlamaForCausalLM"), Silent()
    if same:
        real.lm_head.weight.data.copy_(real.model.embed_tokens.weight)
    real.save_pretrained(tmp_path)
    configure(tmp_path, tie_word_embeddings=True)
    model = Model.open(str(tmp_path), progress=told)
    assert model.tied is same
    assert ("lm_head.weight" in model.names) is not same
    assert told.notices == ([] if same else [told.notices[0]])
    assert same or "they differ: read as untied" in told.notices[0]
    assert torch.equal(model.torch_module()(IDS).logits, real(IDS).logits)


@pytest.mark.parametrize("name", ["BertForMaskedLM", "RobertaForMaskedLM", "BertForQuestionAnswering"])
def test_an_encoder_with_another_head_is_its_base(tmp_path: Path, name: str) -> None:
    real, told = build(name), Silent()
    real.save_pretrained(tmp_path)
    model = Model.open(str(tmp_path), progress=told)
    assert model.kind is ENCODER
    assert model.class_name == model.config.architectures[0] == type(real.base_model).__name__
    assert model.names == tuple(real.base_model.state_dict())
    assert "were left out" in told.notices[0]
    assert torch.equal(model.torch_module()(IDS)[0], real.base_model(IDS)[0])


@pytest.mark.parametrize(
    "name", ["RobertaForSequenceClassification", "DebertaV2ForSequenceClassification", "MPNetForTokenClassification"]
)
def test_a_classifier_keeps_its_head(tmp_path: Path, name: str) -> None:
    real, told = build(name), Silent()
    real.save_pretrained(tmp_path)
    model = Model.open(str(tmp_path), progress=told)
    assert (model.kind, model.class_name, model.config.architectures) == (CLASSIFIER, name, [name])
    assert model.names == tuple(real.state_dict())
    assert not any("classifier" in matrix for matrix in model.matrices)
    assert told.notices == []
    assert torch.allclose(model.torch_module()(IDS)[0], real(IDS)[0], atol=1e-6)


def test_a_head_that_is_not_there_is_missed(tmp_path: Path) -> None:
    build("BertModel").save_pretrained(tmp_path)
    configure(tmp_path, architectures=["BertForSequenceClassification"])
    with pytest.raises(ModelError, match=r"lacks classifier.weight, which BertForSequenceClassification needs"):
        Model.open(str(tmp_path))


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
    told = Silent()
    model = Model.open(str(tmp_path), progress=told)
    assert model.names == tuple(real.state_dict())
    assert told.notices == []
    assert torch.equal(model.torch_module()(IDS)[0], real(IDS)[0])


def test_a_decoder_without_its_prefix(llama: Path) -> None:
    edit(llama, lambda tensors: [tensors.update({n.removeprefix("model."): tensors.pop(n)}) for n in list(tensors)])
    assert Model.open(str(llama)).names[0] == "model.embed_tokens.weight"


def test_a_directory_that_is_no_checkpoint(tmp_path: Path, llama: Path) -> None:
    with pytest.raises(ModelError, match=r"is not a checkpoint: it has no config\.json"):
        Model.open(str(tmp_path))
    with pytest.raises(ModelError, match="is a file; give the directory"):
        Model.open(str(llama / "config.json"))
    (llama / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"is not a checkpoint: .* no model\.safetensors"):
        Model.open(str(llama))


@pytest.mark.parametrize("content", ["{", "[]", '{"model_type": "llama", "hidden_size": "wide"}'])
def test_a_broken_config(llama: Path, content: str) -> None:
    (llama / "config.json").write_text(content)
    with pytest.raises(ModelError, match=r"config\.json"):
        Model.open(str(llama))


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "mamba", "architectures": ["MambaForCausalLM"]},
        {"architectures": ["LlamaForSequenceClassification"]},
        {"model_type": None, "architectures": None},
    ],
)
def test_an_unsupported_architecture_names_the_supported(llama: Path, changes: dict[str, Any]) -> None:
    configure(llama, **changes)
    with pytest.raises(ModelError, match=r"not supported; supported: LlamaForCausalLM, .*BertModel \(with any head\)"):
        Model.open(str(llama))


def test_a_quantized_checkpoint_is_refused(llama: Path) -> None:
    configure(llama, quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(ModelError, match=r"already quantized \(gptq\)"):
        Model.open(str(llama))


def test_code_in_a_checkpoint_is_refused_unless_accepted(llama: Path) -> None:
    configure(llama, auto_map={"AutoModelForCausalLM": "modeling.Mine"})
    (llama / "modeling.py").write_text("raise RuntimeError('this ran')\n")
    with pytest.raises(ModelError, match="--trust-remote-code"):
        Model.open(str(llama))
    assert Model.open(str(llama), trust_remote_code=True).class_name == "LlamaForCausalLM"


@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_are_refused_unless_accepted(llama: Path, zipped: bool) -> None:
    plain = Model.open(str(llama))
    tensors = {name: plain.tensor(name).clone() for name in plain.names}
    torch.save(tensors, llama / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    torch.save({"learning_rate": 1}, llama / "optimizer.pt")
    (llama / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"pytorch_model\.bin is a pickle.*--trust-remote-code"):
        Model.open(str(llama))
    model = Model.open(str(llama), trust_remote_code=True)
    assert model.names == plain.names
    assert all(torch.equal(model.tensor(name), tensors[name]) for name in model.names)


def test_a_pickle_that_runs_code_never_does(llama: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (llama / "ran",))

    (llama / "model.safetensors").unlink()
    torch.save({"weight": Trap()}, llama / "pytorch_model.bin")
    with pytest.raises(ModelError, match="can't be read as weights alone"):
        Model.open(str(llama), trust_remote_code=True)
    assert not (llama / "ran").exists()


def test_a_missing_shard(sharded: Path) -> None:
    first = sorted(sharded.glob("*.safetensors"))[0]
    first.unlink()
    with pytest.raises(ModelError, match=f"{first.name} is missing, though model.safetensors.index.json lists it"):
        Model.open(str(sharded))


def test_a_missing_index(sharded: Path) -> None:
    (sharded / "model.safetensors.index.json").unlink()
    with pytest.raises(ModelError, match=r"model-00001-of-\d+\.safetensors is there, but neither"):
        Model.open(str(sharded))


@pytest.mark.parametrize(
    ("cut", "message"), [(-10, "is truncated: "), (40, "is no readable safetensors"), (4, "is no readable safetensors")]
)
def test_a_truncated_shard(sharded: Path, cut: int, message: str) -> None:
    last = sorted(sharded.glob("*.safetensors"))[-1]
    last.write_bytes(last.read_bytes()[:cut])
    with pytest.raises(ModelError, match=f"{last.name} {message}"):
        Model.open(str(sharded))


def test_an_index_that_lies(sharded: Path) -> None:
    file = sharded / "model.safetensors.index.json"
    index = json.loads(file.read_text())
    index["weight_map"]["model.norm.weight"] = index["weight_map"]["model.embed_tokens.weight"]
    file.write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"lacks model\.norm\.weight, which the index says it holds"):
        Model.open(str(sharded))
    index["weight_map"]["model.norm.weight"] = "../elsewhere.safetensors"
    file.write_text(json.dumps(index))
    with pytest.raises(ModelError, match="points outside its directory"):
        Model.open(str(sharded))
    file.write_text("{}")
    with pytest.raises(ModelError, match=r"index\.json can't be read"):
        Model.open(str(sharded))


def test_a_shard_that_is_not_what_was_recorded(llama: Path) -> None:
    file = llama / "model.safetensors"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (llama / "SHA256SUMS").write_text(f"{digest}  {file.name}\n{'0' * 64} *other.bin\n")
    assert Model.open(str(llama)).parameters > 0
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelError, match=rf"is damaged: its sha256 isn't the recorded {digest[:12]}"):
        Model.open(str(llama))


def test_a_blob_of_the_hub_cache_that_is_not_what_its_name_says(llama: Path, tmp_path: Path) -> None:
    file, blobs = llama / "model.safetensors", tmp_path / "blobs"
    blobs.mkdir()
    data = file.read_bytes()
    blob = blobs / hashlib.sha256(data).hexdigest()
    blob.write_bytes(data)
    file.unlink()
    file.symlink_to(blob)
    assert Model.open(str(llama)).parameters > 0
    blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ModelError, match="is damaged"):
        Model.open(str(llama))


@pytest.mark.parametrize(("value", "what"), [(float("nan"), "NaN"), (float("inf"), "infinite")])
def test_weights_that_are_not_finite(llama: Path, value: float, what: str) -> None:
    edit(llama, lambda tensors: tensors["model.layers.0.mlp.up_proj.weight"][3, 4].fill_(value))
    model = Model.open(str(llama))
    model.tensor("model.norm.weight")
    with pytest.raises(ModelError, match=rf"model\.layers\.0\.mlp\.up_proj\.weight in .* holds {what} values"):
        model.tensor("model.layers.0.mlp.up_proj.weight")
    with pytest.raises(ModelError, match="up_proj"):
        model.torch_module()


def test_weights_of_a_type_that_is_no_float(llama: Path) -> None:
    edit(llama, lambda tensors: tensors.update({"model.norm.weight": torch.ones(32, dtype=torch.int8)}))
    with pytest.raises(ModelError, match=r"model\.norm\.weight in .* is int8; float32"):
        Model.open(str(llama)).tensor("model.norm.weight")


def test_a_tensor_that_is_missing_misshapen_or_unknown(llama: Path) -> None:
    told = Silent()
    edit(llama, lambda tensors: tensors.update({"extra.weight": torch.ones(2)}))
    assert "extra.weight" not in Model.open(str(llama), progress=told).names
    assert told.notices == ["1 tensors that LlamaForCausalLM doesn't use were left out: extra.weight, …"]
    edit(llama, lambda tensors: tensors.update({"model.norm.weight": torch.ones(16)}))
    with pytest.raises(ModelError, match=r"model\.norm\.weight is \[16\], but by config\.json \[32\] is needed"):
        Model.open(str(llama))
    edit(llama, lambda tensors: tensors.pop("model.norm.weight"))
    with pytest.raises(ModelError, match=r"lacks model\.norm\.weight, which LlamaForCausalLM needs"):
        Model.open(str(llama))


def test_a_source_that_is_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="nobody/nothing is no directory here, not in the hub's cache, and the hub"):
        Model.open("nobody/nothing")
    for path in ("./absent", "/absent", "a/b/c", str(tmp_path / "absent")):
        with pytest.raises(ModelError, match="no such directory"):
            Model.open(path)


def test_a_checkpoint_in_the_hub_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, llama: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    cached = tmp_path / "hub" / "models--somebody--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0123abcd")
    (cached / "snapshots").mkdir()
    llama.rename(cached / "snapshots" / "0123abcd")
    model = Model.open("somebody/tiny")
    assert (model.name, model.source, model.class_name) == ("tiny", "somebody/tiny", "LlamaForCausalLM")


def test_an_unknown_demo() -> None:
    with pytest.raises(UsageError, match="unknown demo 'smollm'; did you mean 'smollm2'?"):
        Model.open("demo:smollm")


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


def test_heads_by_their_old_name_are_found(tmp_path):
    config = transformers.GPTNeoXConfig(
        hidden_size=64, intermediate_size=96, num_attention_heads=2, num_hidden_layers=2, vocab_size=331
    )
    module = transformers.GPTNeoXForCausalLM(config)
    module.save_pretrained(tmp_path)
    model = Model.open(str(tmp_path))
    assert "embed_out.weight" in model.shards.where
    assert torch.equal(model.tensor("lm_head.weight"), module.lm_head.weight)
