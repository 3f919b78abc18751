"""What transformers can't load is known before the work, said in the card, and refused by transformers itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers

from compress.checkpoint.variant import Variant
from compress.checkpoint.writing.layout import UNREADABLE, Layout
from compress.errors import UsageError
from compress.export.targets.base import find_target
from compress.export.targets.ort_cpu import OrtCpu
from compress.formats.compressed_tensors import CompressedTensorsFormat
from compress.modeling.classifier import auto_class
from compress.progress import Silent
from tests.support.models import SIZES, save_model
from tests.support.passes import make_variant

MIXTURE = {
    "hidden_size": 128,
    "intermediate_size": 96,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
}
SMALL = {"n_embd": 64, "n_layer": 1, "n_head": 4, "n_positions": 64}


def load(path: Path, name: str) -> torch.nn.Module:
    return getattr(transformers, name).from_pretrained(path, dtype=torch.float32).eval()


def logits(module: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return module(input_ids=torch.arange(5, 17)[None])[0]


@pytest.mark.parametrize(
    ("name", "options", "pipeline", "unreadable"),
    [
        ("GPT2LMHeadModel", SMALL, "int8", "integers of a Conv1D, as the linears of a gpt2 are"),
        ("GPT2LMHeadModel", SMALL, "int4:solver=rtn", "integers of a Conv1D, as the linears of a gpt2 are"),
        (
            "FalconForCausalLM",
            {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4},
            "int8",
            "integers of a FalconLinear, as the linears of a falcon are",
        ),
        (
            "LlamaForCausalLM",
            {**SIZES, "num_hidden_layers": 1},
            "lowrank:keep=0.3:whiten=off",
            "products (`….left.weight` times `….right.weight`)",
        ),
        (
            "T5ForConditionalGeneration",
            {"d_model": 64, "d_ff": 128, "num_layers": 1, "num_heads": 4, "d_kv": 16},
            "int8:embed=float:head=float",
            "its matrices as they are stored (AttributeError: 'Linear' object has no attribute 'weight')",
        ),
        (
            "MarianMTModel",
            {
                **{"d_model": 64, "max_position_embeddings": 64, "decoder_start_token_id": 2},
                **{f"{side}_layers": 1 for side in ("encoder", "decoder")},
                **{f"{side}_attention_heads": 4 for side in ("encoder", "decoder")},
                **{f"{side}_ffn_dim": 128 for side in ("encoder", "decoder")},
            },
            "int8",
            "an embedding in integers that an encoder and a decoder share",
        ),
        (
            "Qwen3MoeForCausalLM",
            {**MIXTURE, "moe_intermediate_size": 64},
            "int4:group=32:solver=rtn:skip=*.experts.0.*",
            "model.layers.0.mlp.experts.down_proj as it is stored, in another shape than transformers",
        ),
    ],
)
def test_a_variant_that_transformers_would_read_as_something_else_is_refused_by_it(
    tmp_path: Path, name: str, options: dict[str, object], pipeline: str, unreadable: str
) -> None:
    save_model(tmp_path / "m", name, **options)
    progress = Silent()
    variant = make_variant(tmp_path / "m", pipeline, OrtCpu.capability, tmp_path / "v", progress=progress)
    reason = variant.manifest.unreadable
    assert reason is not None
    assert reason.startswith(unreadable)
    assert (
        any(notice.startswith(f"transformers can't load {reason};") for notice in progress.notices)
        or "product" in reason
    )
    config = json.loads((tmp_path / "v" / "config.json").read_text())
    assert config["quantization_config"] == UNREADABLE
    for auto in (auto_class(variant.kind, name), "AutoModel", name):
        with pytest.raises(ValueError, match=r"not for transformers; see README\.md"):
            load(tmp_path / "v", auto)
    card = (tmp_path / "v" / "README.md").read_text()
    assert "\ntransformers can't load " in card
    assert "from_pretrained" not in card.partition("In ONNX Runtime")[0]
    again = Variant.open(tmp_path / "v")  # that it isn't for transformers doesn't keep it from ours
    matrix = next(iter(again.manifest.weights))
    assert torch.equal(again.weight(matrix).dequantize(), variant.weight(matrix).dequantize())
    with pytest.raises(UsageError, match="transformers can't load|hf can't hold a product"):
        find_target("hf").check_weights(again.architecture, again.manifest.weights)


@pytest.mark.parametrize("width", [96, 48, 64])
@pytest.mark.parametrize("target", ["ort-cpu", "hf"])
def test_experts_of_any_width_share_one_group_and_load(tmp_path: Path, width: int, target: str) -> None:
    save_model(tmp_path / "m", "Qwen3MoeForCausalLM", **MIXTURE, moe_intermediate_size=width)
    variant = make_variant(tmp_path / "m", "int8", find_target(target).capability, tmp_path / "v")
    assert variant.manifest.unreadable is None
    experts = [form for name, form in variant.manifest.weights.items() if ".experts." in name]
    groups = {form.shape[1]: form.group for form in experts}
    assert groups == {96: {128: 32, 96: 32}, 48: {128: -1, 48: -1}, 64: {128: 64, 64: -1}}[width]
    theirs, ours = load(variant.path, "AutoModelForCausalLM"), variant.torch_module()
    assert torch.allclose(logits(theirs), logits(ours), atol=1e-4)
    find_target("hf").check_weights(variant.architecture, variant.manifest.weights)


def test_zero_points_as_the_library_packs_them_are_told_and_kept(llama: Path, tmp_path: Path) -> None:
    progress = Silent()
    pipeline = "int4:symmetry=asym:solver=rtn:group=32"
    variant = make_variant(llama, pipeline, OrtCpu.capability, tmp_path / "v", progress=progress)
    reason = "weight_zero_point as it is stored, in another shape than transformers"
    assert reason in str(variant.manifest.unreadable)
    assert reason in progress.notices[0]
    config = json.loads((variant.path / "config.json").read_text())["quantization_config"]
    assert "config_groups" in config
    assert config != UNREADABLE
    with pytest.raises(RuntimeError):
        load(variant.path, "AutoModelForCausalLM")
    find_target("hf").check_weights(variant.architecture, variant.manifest.weights)


def test_what_is_predicted_is_what_is_written(llama: Path, tmp_path: Path) -> None:
    for pipeline in (
        "int8",
        "int4:solver=rtn:group=32",
        "int2:solver=rtn:group=32",
        "lowrank:keep=0.3:whiten=off,int8",
        "fp16",
    ):
        variant = make_variant(llama, pipeline, OrtCpu.capability, tmp_path / pipeline.replace(":", "-"))
        layout = Layout(variant.architecture, CompressedTensorsFormat())
        predicted = layout._predicted_tensors(variant.manifest.weights)
        shapes = {name: tuple(variant.shards.raw(name).shape) for name in variant.shards.where}
        assert {name: tuple(tensor.shape) for name, tensor in predicted.items()} == shapes
