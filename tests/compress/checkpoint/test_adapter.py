"""A LoRA adapter beside a model: both are one model, as transformers loads them with peft."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from compress.checkpoint import adapter as adapter_module
from compress.checkpoint.model import Model
from compress.errors import MissingComponentError, ModelError
from compress.progress import Silent
from tests.support.checkpoints import configure
from tests.support.cli import run_cli
from tests.support.models import SIZES, copy_checkpoint, save_model
from tests.support.sentences import pooling, save_modules

IDS = torch.arange(5, 17)[None]
BOTH = ["q_proj", "v_proj"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def adapt(path: Path, config: peft.PeftConfig, name: str = "AutoModelForCausalLM") -> Path:
    """Save an adapter of random numbers beside the model in a folder."""
    base = getattr(transformers, name).from_pretrained(path, dtype=torch.float32)
    model = peft.get_peft_model(base, config)
    torch.manual_seed(1)
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.data.normal_(1.0 if "magnitude" in key else 0.0, 0.1)
    model.save_pretrained(path)
    return path


def configure_adapter(path: Path, **settings: Any) -> None:
    """Change settings of the adapter in a folder."""
    file = path / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


def rename(path: Path, new_name: Callable[[str], str | None]) -> None:
    """Rename the tensors of the adapter in a folder; those of no name go."""
    tensors = load_file(path / "adapter_model.safetensors")
    renamed = {new_name(name): tensor for name, tensor in tensors.items()}
    save_file({name: tensor for name, tensor in renamed.items() if name}, path / "adapter_model.safetensors")


def logits(module: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return module(input_ids=IDS)[0]


def untied(llama: Path, tmp_path: Path) -> Path:
    return save_model(
        tmp_path / "m", "LlamaForCausalLM", **{**SIZES, "num_hidden_layers": 1, "tie_word_embeddings": False}
    )


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": BOTH},
        {
            "target_modules": "all-linear",
            "use_rslora": True,
            "rank_pattern": {"q_proj": 8},
            "alpha_pattern": {"v_proj": 2},
        },
        {"target_modules": BOTH, "modules_to_save": ["lm_head"]},
        {"target_modules": [*BOTH, "embed_tokens", "lm_head"]},
        {"target_modules": BOTH, "trainable_token_indices": [5, 7]},
        {"target_modules": BOTH, "lora_bias": False, "bias": "none", "layers_to_transform": [0]},
    ],
)
def test_a_model_and_its_adapter_are_what_transformers_loads_of_both(
    llama: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    path = untied(llama, tmp_path)
    adapt(path, peft.LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", **options))
    progress = Silent()
    model = Model.open(path, progress=progress)
    assert progress.notices[0].startswith(f"merging the LoRA adapter in {path} into the model beside it, in ")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    plain = transformers.LlamaForCausalLM.from_pretrained(
        None, config=theirs.config, state_dict=load_file(path / "model.safetensors")
    )
    assert torch.allclose(logits(model.torch_module()), logits(theirs), atol=2e-5)
    assert not torch.allclose(logits(plain.eval()), logits(theirs), atol=1e-2)
    assert (model.source, model.name) == (str(path), path.name)
    assert not list(model.path.glob("adapter*"))


def test_a_dora_is_what_peft_makes_of_it(llama: Path, tmp_path: Path) -> None:
    """transformers 5.23 leaves a DoRA's magnitudes as they were before the training, and reports them as unexpected."""
    path = untied(llama, tmp_path)
    adapt(path, peft.LoraConfig(r=4, target_modules=BOTH, use_dora=True))
    (tmp_path / "alone").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(path / name, tmp_path / "alone")
    ours = Model.open(path).torch_module()
    (path / "adapter_config.json").unlink()
    base = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "alone").eval()
    assert torch.allclose(logits(ours), logits(theirs), atol=2e-5)


def test_an_encoder_and_a_half_precision_model_are_merged_too(tmp_path: Path) -> None:
    sizes = {**SIZES, "num_hidden_layers": 1}
    path = save_model(tmp_path / "bert", "BertForSequenceClassification", **sizes)
    adapt(
        path, peft.LoraConfig(r=4, target_modules=["query"], task_type="SEQ_CLS"), "AutoModelForSequenceClassification"
    )
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32).eval()
    assert torch.allclose(logits(Model.open(path).torch_module()), logits(theirs), atol=2e-5)
    path = save_model(tmp_path / "gpt2", "GPT2LMHeadModel", n_embd=64, n_layer=1, n_head=4, n_positions=64)
    adapt(path, peft.LoraConfig(r=4, target_modules=["c_attn"], fan_in_fan_out=True))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    assert torch.allclose(logits(Model.open(path).torch_module()), logits(theirs), atol=2e-5)


def test_half_precision_stays_half(llama: Path, tmp_path: Path) -> None:
    path = copy_checkpoint(llama, tmp_path / "m", lambda t: t.update({k: v.bfloat16() for k, v in t.items()}))
    adapt(path, peft.LoraConfig(r=4, target_modules=BOTH))
    model = Model.open(path)
    assert {model.tensor(name).dtype for name in model.names} == {torch.bfloat16}


def test_it_is_merged_once_and_again_where_it_changed(llama: Path, tmp_path: Path) -> None:
    path = adapt(copy_checkpoint(llama, tmp_path / "m"), peft.LoraConfig(r=4, target_modules=BOTH))
    first, progress = Model.open(path), Silent()
    again = Model.open(path, progress=progress)
    assert again.path == first.path
    assert again.digest == first.digest
    assert progress.notices == [f"the LoRA adapter in {path} is merged into the model beside it"]
    weights = load_file(path / "adapter_model.safetensors")
    save_file({name: tensor * 2 for name, tensor in weights.items()}, path / "adapter_model.safetensors")
    assert Model.open(path).digest != first.digest


def test_nothing_of_it_is_in_a_variant(llama: Path, tmp_path: Path) -> None:
    path = adapt(copy_checkpoint(llama, tmp_path / "m"), peft.LoraConfig(r=4, target_modules=BOTH))
    result = run_cli(path, "-p", "fp16", "--target", "hf", "--no-score", "-o", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    variant = tmp_path / "out" / "fp16"
    assert not list(variant.glob("adapter*"))
    assert json.loads((variant / "compress.json").read_text())["source"]["name"] == str(path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    loaded = transformers.AutoModelForCausalLM.from_pretrained(variant, dtype=torch.float32).eval()
    assert torch.allclose(logits(loaded), logits(theirs), atol=2e-2)


def test_a_leftover_config_is_told_and_stays_behind(llama: Path, tmp_path: Path) -> None:
    path = adapt(copy_checkpoint(llama, tmp_path / "m"), peft.LoraConfig(r=4, target_modules=BOTH))
    (path / "adapter_model.safetensors").unlink()
    result = run_cli(path, "-p", "fp16", "--target", "hf", "--no-score", "-o", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    note = "adapter_config.json has no weights beside it: the model is read as it is, merged already"
    assert note in " ".join(result.stderr.split()) + " ".join(result.stdout.split())
    assert not (tmp_path / "out" / "fp16" / "adapter_config.json").exists()
    transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "fp16")


@pytest.mark.parametrize("command", [["-p", "int8", "--no-score"], None])
def test_an_adapter_alone_names_its_base(llama: Path, tmp_path: Path, command: list[str] | None) -> None:
    path = adapt(copy_checkpoint(llama, tmp_path / "m"), peft.LoraConfig(r=4, target_modules=BOTH))
    (path / "model.safetensors").unlink()
    (path / "config.json").unlink()
    config = json.loads((path / "adapter_config.json").read_text())
    (path / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "some/base-model"}))
    result = run_cli(path, *command, "-o", tmp_path / "o") if command else run_cli("predict", path, "-p", "int8")
    assert result.returncode == 3
    assert f"{path} holds a LoRA adapter alone, of some/base-model; merge it into that model first" in result.stderr
    assert "merge_and_unload" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(("option", "reason"), [
    ({"alora_invocation_tokens": [5]}, "works behind certain tokens alone (alora_invocation_tokens)"),
    ({"layer_replication": [[0, 2], [1, 2]]}, "makes more layers than its model has (layer_replication)"),
])  # fmt: skip
def test_a_lora_that_no_weights_can_be_is_refused(
    llama: Path, tmp_path: Path, option: dict[str, Any], reason: str
) -> None:
    path = adapt(copy_checkpoint(llama, tmp_path / "m"), peft.LoraConfig(r=4, target_modules=BOTH))
    configure_adapter(path, **option)
    with pytest.raises(ModelError) as error:
        Model.open(path)
    assert str(error.value) == (
        f"{path} has a LoRA adapter that {reason}, which no merge_and_unload brings into the model's weights; remove "
        "adapter_config.json to compress the model without it"
    )


def test_a_setting_that_peft_would_ignore_is_refused(llama: Path, tmp_path: Path) -> None:
    path = adapt(copy_checkpoint(llama, tmp_path / "m"), peft.LoraConfig(r=4, target_modules=BOTH))
    configure_adapter(path, enable_lora=None, merge_weights=False)  # of peft's beginnings
    Model.open(path)
    configure_adapter(path, use_tomorrow=True)
    with pytest.raises(ModelError) as error:
        Model.open(path)
    assert str(error.value) == (
        f"{path}/adapter_config.json sets use_tomorrow, which peft {peft.__version__} doesn't know; update peft, or "
        "merge the adapter with the peft that made it (merge_and_unload)"
    )


@pytest.mark.parametrize(("lost", "name"), [("layers.1.", "layers.1.self_attn.q_proj.lora_A.weight"),
                                            ("lora_B", "layers.0.self_attn.q_proj.lora_B.weight")])  # fmt: skip
def test_an_adapter_that_lacks_a_matrix_is_refused(llama: Path, tmp_path: Path, lost: str, name: str) -> None:
    path = adapt(copy_checkpoint(llama, tmp_path / "m"), peft.LoraConfig(r=4, target_modules=BOTH))
    rename(path, lambda key: None if lost in key else key)
    with pytest.raises(ModelError) as error:
        Model.open(path)
    assert str(error.value) == (
        f"{path}/adapter_model.safetensors lacks model.{name}, which adapter_config.json promises; fetch it again"
    )


@pytest.mark.parametrize(("architecture", "trained"), [
    ("AutoModelForCausalLM", "model.layers"), ("AutoModel", "base_model.model.layers"),
    ("AutoModelForCausalLM", "base_model.model.model.layers"),
])  # fmt: skip
@pytest.mark.parametrize("embeds", [False, True])
def test_names_are_taken_as_transformers_takes_them(
    tiny: Any, tmp_path: Path, architecture: str, trained: str, embeds: bool
) -> None:
    decoder = tiny("Qwen3ForCausalLM", head_dim=16, tie_word_embeddings=False)
    path = copy_checkpoint(decoder, tmp_path / "m")
    adapt(path, peft.LoraConfig(r=4, target_modules=BOTH), architecture)
    rename(path, lambda key: trained + key.partition(".layers")[2])
    if embeds:
        save_modules(path, [pooling("lasttoken")])
    cls = transformers.AutoModel if embeds else transformers.AutoModelForCausalLM
    theirs = cls.from_pretrained(path, dtype=torch.float32).eval()
    assert torch.allclose(logits(Model.open(path).torch_module()), logits(theirs), atol=2e-5)


def test_what_a_training_leaves_is_no_model(llama: Path, tmp_path: Path) -> None:
    path = adapt(copy_checkpoint(llama, tmp_path / "m"), peft.LoraConfig(r=4, target_modules=BOTH))
    (path / "model.safetensors").unlink()
    (path / "training_args.bin").write_bytes(b"a pickle")
    with pytest.raises(ModelError, match="holds a LoRA adapter alone"):
        Model.open(path)


@pytest.mark.parametrize("kind", ["IA3", "PREFIX_TUNING", "LOHA", "PROMPT_TUNING"])
def test_other_adapters_are_refused_by_name(llama: Path, tmp_path: Path, kind: str) -> None:
    path = copy_checkpoint(llama, tmp_path / "m")
    (path / "adapter_config.json").write_text(json.dumps({"peft_type": kind}))
    save_file({"a": torch.ones(1)}, path / "adapter_model.safetensors")
    with pytest.raises(
        ModelError, match=f"has a {kind} adapter, and LoRA's alone are merged here; .* merge_and_unload"
    ):
        Model.open(path)


def test_without_peft_the_extra_is_named(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = adapt(copy_checkpoint(llama, tmp_path / "m"), peft.LoraConfig(r=4, target_modules=BOTH))
    monkeypatch.setattr(adapter_module, "find_spec", lambda name: None)
    with pytest.raises(MissingComponentError, match=re.escape("pip install 'compress-models[peft]', or merge it with")):
        Model.open(path)


def test_a_pickled_adapter_needs_trust(llama: Path, tmp_path: Path) -> None:
    path = adapt(copy_checkpoint(llama, tmp_path / "m"), peft.LoraConfig(r=4, target_modules=BOTH))
    torch.save(load_file(path / "adapter_model.safetensors"), path / "adapter_model.bin")
    safe = Model.open(path).digest
    (path / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match="is a pickle, which can run code; convert it to safetensors"):
        Model.open(path)
    assert Model.open(path, trust_remote_code=True).digest == safe


def test_an_adapter_of_another_model_is_refused(llama: Path, tmp_path: Path) -> None:
    path = adapt(copy_checkpoint(llama, tmp_path / "m"), peft.LoraConfig(r=4, target_modules=BOTH))
    weights = load_file(path / "adapter_model.safetensors")
    strange = {name.replace("layers.0.", "layers.9."): tensor for name, tensor in weights.items()}
    save_file(strange, path / "adapter_model.safetensors")
    with pytest.raises(
        ModelError, match=r"layers\.9\..* belongs to no module of a LlamaForCausalLM; .* merge_and_unload"
    ):
        Model.open(path)
    save_file(
        {name: tensor[:, :2].contiguous() for name, tensor in weights.items()}, path / "adapter_model.safetensors"
    )
    with pytest.raises(ModelError, match="can't be merged into the model beside it"):
        Model.open(path)
    save_file({name: tensor * float("nan") for name, tensor in weights.items()}, path / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="can't be merged into the model beside it"):
        Model.open(path)
    assert not (tmp_path / "cache" / "adapters").exists()


def test_a_tied_head_is_not_changed_alone(llama: Path, tmp_path: Path) -> None:
    path = copy_checkpoint(llama, tmp_path / "m")
    configure(path, tie_word_embeddings=True)
    tensors = load_file(path / "model.safetensors")
    tensors.pop("lm_head.weight", None)
    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    adapt(path, peft.LoraConfig(r=4, target_modules=["lm_head"]))
    with pytest.raises(ModelError, match=r"changes lm_head\.weight, which is embedding and head at once"):
        Model.open(path)
    torch.save(load_file(path / "adapter_model.safetensors"), path / "adapter_model.bin")
    (path / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"changes lm_head\.weight, which is embedding and head at once"):
        Model.open(path, trust_remote_code=True)


def test_an_adapter_that_is_a_link_out_of_the_folder_is_refused(llama: Path, tmp_path: Path) -> None:
    path = adapt(copy_checkpoint(llama, tmp_path / "m"), peft.LoraConfig(r=4, target_modules=BOTH))
    shutil.move(path / "adapter_model.safetensors", tmp_path / "elsewhere")
    (path / "adapter_model.safetensors").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="is a link out of the checkpoint"):
        Model.open(path)
