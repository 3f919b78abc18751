"""GPTQ and AWQ checkpoints: read by onnxruntime-genai's own loaders, by gptqmodel, and word by word."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from compress.checkpoint.model import Model
from compress.checkpoint.writing.writer import WriteOptions
from compress.errors import ExportError, UsageError
from compress.export.targets.hf import Hf
from compress.formats.base import find_format, formats
from compress.pipeline.parse import Pipeline
from compress.pipeline.predict import ConfigOnlyModel, predict
from compress.progress import Silent
from compress.weights.forms import Masked, Quantized, mask_of
from compress.weights.stored import StoredForm
from tests.support.passes import layers_variant
from tests.support.tensors import token_ids

TOKENS = token_ids(2, 12)
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


def words(packed, bits):
    """Unsigned integers of int32 words, ``[rows, n]`` from ``[rows, n · bits / 32]``, the lowest bits first."""
    lanes = [(packed.long() >> (bits * i)) & (2**bits - 1) for i in range(32 // bits)]
    return torch.stack(lanes, -1).flatten(1)


def read_gptq(tensors, stem, bits):
    """AutoGPTQ's dequantization: ``scales[g_idx] · (q − (qzeros + 1)[g_idx])``."""
    codes, zeros = words(tensors[f"{stem}qweight"].T, bits).T, words(tensors[f"{stem}qzeros"], bits) + 1
    group = tensors[f"{stem}g_idx"].long()
    return (tensors[f"{stem}scales"].float()[group] * (codes - zeros[group])).T


def read_awq(tensors, stem, bits):
    """AutoAWQ's: lane i of a word is output ``AWQ_ORDER[i]``."""
    codes, zeros = (
        words(tensors[f"{stem}{part}"], bits).unflatten(1, (-1, 8))[..., torch.tensor(AWQ_ORDER).argsort()].flatten(1)
        for part in ("qweight", "qzeros")
    )
    scales = tensors[f"{stem}scales"].float()
    repeats = len(codes) // len(scales)
    return (scales.repeat_interleave(repeats, 0) * (codes - zeros.repeat_interleave(repeats, 0))).T


def read_by_genai(name, packed):
    """What onnxruntime-genai's builder makes of the checkpoint: its loaders unpack and pack again for MatMulNBits."""
    loaders = pytest.importorskip("onnxruntime_genai.models.loaders.quant_model")
    config = json.loads((packed.path / "config.json").read_text())
    settings = config["quantization_config"]
    attributes = {
        "config": settings,
        "use_g_idx": False,
        "bits": settings["bits"],
        "group_size": settings["group_size"],
    }
    sizes = {"q_size": 64, "kv_size": 32, "intermediate_size": 128, "num_layers": 2}
    loaded = loaders.QuantModel.from_pretrained(name, input_path=str(packed.path), quant_attrs=attributes, **sizes)
    tensors = {}
    for i, layer in enumerate(loaded.layers):
        for part in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj"):
            owner, last = part.split(".")
            tensors[f"model.layers.{i}.{part}.weight"] = dequantized(getattr(getattr(layer, owner), last))
    return tensors


def dequantized(module):
    """MatMulNBits' operands as a float matrix."""
    rows, bits = module.out_features, module.bits
    codes = unpacked_bytes(module.qweight.reshape(rows, -1), bits).reshape(rows, -1)
    scales = module.scales.float().reshape(rows, -1)
    zeros = unpacked_bytes(module.qzeros.reshape(rows, -1), bits)[:, : scales.shape[1]]
    size = codes.shape[1] // scales.shape[1]
    return (codes - zeros.repeat_interleave(size, 1)) * scales.repeat_interleave(size, 1)


def unpacked_bytes(packed, bits):
    lanes = [(packed.int() >> (bits * i)) & (2**bits - 1) for i in range(8 // bits)]
    return torch.stack(lanes, -1).flatten(1)


CASES = [("gptq", 4, False), ("gptq", 8, False), ("awq", 4, True), ("awq", 4, False)]


@pytest.mark.parametrize("group", [32, None])
@pytest.mark.parametrize(("name", "bits", "zero"), CASES)
def test_the_words_are_those_of_the_formats_definition(llama, tmp_path, rounded, name, bits, zero, group):
    packed = layers_variant(
        llama, tmp_path / "v", lambda t: rounded(t, group, bits, zero), WriteOptions(format=find_format(name))
    )
    tensors, reader = load_file(packed.path / "model.safetensors"), {"gptq": read_gptq, "awq": read_awq}[name]
    quantized = [key for key, form in packed.manifest.weights.items() if form.form == "quantized"]
    assert len(quantized) == 14
    for key in quantized:
        weight = packed.weight(key)
        exact = rounded(Model.open(str(llama)).tensor(key), group, bits, zero)
        assert torch.equal(weight.codes, exact.codes)
        assert torch.equal(weight.scale, exact.scale.half())
        assert (weight.zero_point is None) != zero
        assert torch.equal(reader(tensors, key.removesuffix("weight"), bits), weight.dequantize())
    if name == "gptq":
        word = {4: 0x77777777, 8: 0x7F7F7F7F}[bits]
        assert {int(w) for n, t in tensors.items() if n.endswith("qzeros") for w in t.unique()} == {word}
    assert {str(t.dtype) for n, t in tensors.items() if n.endswith("scales")} == {"torch.float16"}


@pytest.mark.parametrize(("name", "bits", "zero"), CASES)
def test_onnxruntime_genai_reads_the_same_numbers(untied, tmp_path, rounded, name, bits, zero):
    packed = layers_variant(
        untied, tmp_path / "v", lambda t: rounded(t, 32, bits, zero), WriteOptions(format=find_format(name))
    )
    tensors = read_by_genai(name, packed)
    assert len(tensors) == 10
    for key, theirs in tensors.items():
        assert torch.equal(theirs, packed.weight(key).dequantize())


@pytest.mark.parametrize(("name", "bits", "zero"), CASES)
def test_transformers_reads_the_same_numbers(untied, tmp_path, rounded, name, bits, zero):
    """By gptqmodel's own kernels for CPUs, some of which compute in 16 bits."""
    pytest.importorskip("gptqmodel", reason="transformers reads GPTQ and AWQ with gptqmodel: extra gptq")
    pytest.importorskip("optimum")
    packed = layers_variant(
        untied, tmp_path / "v", lambda t: rounded(t, 32, bits, zero), WriteOptions(format=find_format(name))
    )
    theirs = AutoModelForCausalLM.from_pretrained(packed.path, dtype=torch.float32)
    with torch.inference_mode():
        actual, expected = theirs(TOKENS).logits, packed.torch_module()(TOKENS).logits
    assert float((actual - expected).norm() / expected.norm()) < 1e-2


def test_configs_say_what_readers_go_by(untied, llama, tmp_path, rounded):
    def form(tensor):
        return rounded(tensor, 32, 4)

    packed = layers_variant(untied, tmp_path / "gptq", form, WriteOptions(format=find_format("gptq")), head=True)
    config = json.loads((packed.path / "config.json").read_text())
    expected = {
        "quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False, "sym": True, "lm_head": True,
        "checkpoint_format": "gptq",
    }  # fmt: skip
    assert config["quantization_config"] == expected
    assert json.loads((packed.path / "quantize_config.json").read_text()) == expected
    assert config["dtype"] == "float16"
    assert packed.manifest.format == "gptq"
    packed = layers_variant(llama, tmp_path / "awq", form, WriteOptions(format=find_format("awq")))
    config = json.loads((packed.path / "config.json").read_text())
    assert config["quantization_config"] == {
        "quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm",
        "modules_to_not_convert": ["lm_head"],
    }  # fmt: skip
    card = (packed.path / "README.md").read_text()
    assert "The checkpoint is in format awq, for which transformers needs gptqmodel and optimum." in card
    assert not (packed.path / "quantize_config.json").exists()
    packed = layers_variant(
        llama, tmp_path / "channel", lambda t: rounded(t, None, 4), WriteOptions(format=find_format("gptq"))
    )
    config = json.loads((packed.path / "config.json").read_text())["quantization_config"]
    assert (config["group_size"], config["lm_head"]) == (-1, False)


@pytest.mark.parametrize(
    ("name", "pipeline", "message"),
    [
        ("gptq", "int4", "can't hold embeddings in integers .*embed_tokens.*; give embed=float"),
        (
            "gptq",
            "int4:embed=float",
            "has one scheme for all, but .* has 4 bits, groups of 32 and lm_head.weight has 8 bits",
        ),
        ("gptq", "int4:embed=float:head=float:asym", "can't hold zero points .*; give symmetry=sym, or --format awq"),
        ("gptq", "int3:embed=float:head=float", "can't hold 3 bits .*; use int4 or int8"),
        ("gptq", "int8:embed=float:head=float:act=dynamic", "can't hold inputs in integers .*; give act=none"),
        ("gptq", "int8:embed=float:head=float:group=64", None),
        ("gptq", "int4:embed=float:head=int4", None),
        ("gptq", "int4:embed=float:head=float:group=channel", None),
        (
            "gptq",
            "int4:embed=float:head=float:skip=*.down_proj.weight",
            "can't hold linears in float .*; use an integer pass, without skip",
        ),
        ("gptq", "fp16", "can't hold linears in float"),
        ("gptq", "lowrank:rank=0.4", "can't hold products .*; leave out lowrank and compensate"),
        ("awq", "int4:embed=float:head=int4", "can't hold heads in integers .*; give head=float"),
        ("awq", "int8:embed=float:head=float", "can't hold 8 bits .*; use int4"),
        ("awq", "int4:embed=float:head=float:skip=*.down_proj.weight", None),
        ("awq", "int4:embed=float:head=float:asym", None),
        ("compressed-tensors", "int3", None),
    ],
)
def test_what_a_format_cannot_hold_is_refused_with_the_fix(tiny, name, pipeline, message):
    model = Model.open(str(tiny("LlamaForCausalLM", tie_word_embeddings=False, vocab_size=336)))
    passes = Pipeline.parse(pipeline)
    weights = predict(ConfigOnlyModel(model.architecture), passes, Hf.capability).weights
    reason = find_format(name).unsupported_reason(model.architecture, weights)
    if message is None:
        assert reason is None
    else:
        assert re.match(f"format {name} {message}", reason)


def test_encoders_and_odd_shapes_are_refused(bert, untied, tiny):
    model = Model.open(str(bert))
    reason = find_format("gptq").unsupported_reason(model.architecture, {})
    assert reason == "format gptq is for decoders; leave out --format"
    decoder = Model.open(str(tiny("LlamaForCausalLM", intermediate_size=100)))
    weights = predict(
        ConfigOnlyModel(decoder.architecture),
        Pipeline.parse("int4:embed=float:head=float:group=channel"),
        Hf.capability,
    ).weights
    reason = find_format("awq").unsupported_reason(decoder.architecture, weights)
    assert re.search("100 × 64 codes, 8 a word .*; leave out --format", reason)
    decoder = Model.open(str(untied))
    passes = Pipeline.parse("int4:embed=float:head=int4")
    weights = predict(ConfigOnlyModel(decoder.architecture), passes, Hf.capability).weights
    reason = find_format("gptq").unsupported_reason(decoder.architecture, weights)
    assert reason == "format gptq can't hold 322 × 64 codes, 8 a word (lm_head.weight); give head=float"
    with pytest.raises(UsageError, match="unknown format 'gpqt'; did you mean 'gptq'?"):
        find_format("gpqt")
    assert list(formats()) == ["awq", "compressed-tensors", "gptq"]


def test_scales_are_rounded_to_half_and_that_is_said(untied, tmp_path, rounded):
    progress = Silent()
    gptq = WriteOptions(format=find_format("gptq"))
    packed = layers_variant(untied, tmp_path / "a", lambda t: rounded(t, 32, 4), gptq, progress=progress)
    (notice,) = progress.notices
    assert notice.startswith("format gptq rounds scales, here by up to 0.0")
    exact = Model.open(str(untied)).tensor("model.layers.0.mlp.up_proj.weight")
    assert torch.equal(packed.weight("model.layers.0.mlp.up_proj.weight").scale, rounded(exact, 32, 4).scale.half())

    def half(tensor):
        weight = rounded(tensor, 32, 4)
        return Quantized(weight.codes, weight.scale.half(), 4, 32)

    progress = Silent()
    layers_variant(untied, tmp_path / "b", half, gptq, progress=progress)
    assert progress.notices == []

    def huge(tensor):
        return Quantized(rounded(tensor, 32, 4).codes, torch.full((len(tensor), tensor.shape[1] // 32), 7e4), 4, 32)

    with pytest.raises(ExportError, match=r"format gptq has float16 scales, and one of 7e\+04 is too large for that"):
        layers_variant(untied, tmp_path / "c", huge, gptq)


def test_masks_are_kept(untied, tmp_path, rounded):
    def form(tensor):
        mask = torch.rand(tensor.shape, generator=torch.Generator().manual_seed(2)) > 0.5
        weight = rounded(tensor * mask, 32, 4)
        return Quantized(weight.codes * mask, weight.scale, 4, 32, mask=mask & (weight.codes != 0))

    packed = layers_variant(untied, tmp_path / "v", form, WriteOptions(find_format("gptq")))
    weight = packed.weight("model.layers.0.mlp.up_proj.weight")
    assert torch.equal(mask_of(weight), weight.codes != 0)
    dense = Masked(torch.eye(4), torch.eye(4) > 0)
    again = find_format("awq").decode("w.weight", StoredForm.of(dense), {"w.weight": dense.tensor})
    assert torch.equal(again.mask, dense.mask)


def test_the_hf_target_says_that_readers_are_missing(untied, tmp_path, rounded, monkeypatch):
    monkeypatch.setattr("compress.export.targets.hf.find_spec", lambda name: None)
    packed = layers_variant(untied, tmp_path / "v", lambda t: rounded(t, 32, 4), WriteOptions(find_format("gptq")))
    progress = Silent()
    artifact = Hf(find_format("gptq")).export(packed, (), Path(packed.path), progress)
    assert artifact.stored_bytes == sum(packed.shards.raw(name).nbytes for name in packed.shards.where)
    assert progress.notices == [
        "not verified: loading gptq in transformers needs gptqmodel and optimum; pip install 'compress-models[gptq]'"
    ]
