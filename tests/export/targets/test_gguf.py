"""GGUF files: read by the format's own library, by transformers' reader, and by llama.cpp where it is installed."""

from __future__ import annotations

from dataclasses import replace

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from compress.benchmarks.results.contender import Contender
from compress.benchmarks.runtime.load import load_engine
from compress.checkpoint.model import Model
from compress.errors import ExportError, UsageError
from compress.export.gguf.file import write_gguf
from compress.export.targets.gguf import Gguf
from compress.pipeline.parse import Pipeline
from compress.pipeline.predict import ConfigOnlyModel, predict
from compress.progress import Silent
from compress.weights.forms import Dense
from tests.support.passes import make_variant
from tests.support.tensors import token_ids

TOKENS = token_ids(2, 12)
FAMILIES = ["LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"]


def half(weight):
    return replace(weight, scale=weight.scale.half())


def assorted(rounded):
    """Every kind of blocks in one model: groups of 32 and 64, whole channels, floats of 32 and 16 bits."""

    def form(name, tensor):
        if "embed" in name:
            return half(rounded(tensor, 32, 8))
        if "lm_head" in name:
            return Dense(tensor.half())
        scheme = {"q": (64, 4, False), "k": (32, 4, False), "v": (32, 8, False), "o": (None, 8, False)}
        if "self_attn" in name:
            return half(rounded(tensor, *scheme[name.split(".")[4][0]]))
        return (
            Dense(tensor.bfloat16())
            if "gate" in name
            else Dense(tensor)
            if "up" in name
            else half(rounded(tensor, 32, 4))
        )

    return form


def torch_logits(module):
    with torch.inference_mode():
        return module(TOKENS).logits


@pytest.mark.parametrize("name", FAMILIES)
def test_transformers_reads_the_file_to_the_same_numbers(tiny, tmp_path, rounded, name):
    variant = make_variant(
        tiny(name, tie_word_embeddings=name == "LlamaForCausalLM"), assorted(rounded), Gguf.capability, tmp_path / "v"
    )
    out = tmp_path / "gguf"
    out.mkdir()
    artifact = Gguf().export(variant, (), out, Silent())
    theirs = AutoModelForCausalLM.from_pretrained(out, gguf_file="model.gguf", dtype=torch.float32)
    assert torch.allclose(torch_logits(theirs), torch_logits(variant.torch_module()), atol=1e-5, rtol=1e-5)
    sizes = {tensor.name: int(tensor.n_bytes) for tensor in gguf.GGUFReader(out / "model.gguf").tensors}
    assert artifact.stored_bytes == sum(sizes.values())
    assert artifact.stored_bytes - artifact.read_bytes == (0 if variant.tied else sizes["token_embd.weight"])


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("int4", None),
        ("int4:asym:embed=int4:head=int4", None),
        ("int8:group=32", None),
        ("int8:group=32:asym", r"8 bits with zero points \(.*\); give symmetry=sym"),
        ("int3", "can't hold 3 bits"),
    ],
)
def test_what_has_no_blocks_is_refused_with_the_fix(untied, pipeline, message):
    model, every = Model.open(str(untied)), replace(Gguf.capability, bits=frozenset(range(2, 9)))
    weights = predict(ConfigOnlyModel(model.architecture), Pipeline.parse(pipeline), every).weights
    if message is None:
        Gguf().check_weights(model.architecture, weights)
        return
    with pytest.raises(UsageError, match=message):
        Gguf().check_weights(model.architecture, weights)


def test_what_has_no_place_is_refused(bert, tiny, untied, monkeypatch, tmp_path):
    with pytest.raises(UsageError, match=r"gguf can't hold bert models; llama.cpp's llama, .* are written here"):
        Gguf().check_weights(Model.open(str(bert)).architecture, {})
    scaled = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
    model = Model.open(str(tiny("LlamaForCausalLM", rope_parameters=scaled)))
    with pytest.raises(UsageError, match="rotary embeddings of the type linear"):
        Gguf().check_weights(model.architecture, {})
    with pytest.raises(ExportError, match="rotary embeddings of the type linear"):
        write_gguf(model, tmp_path / "a.gguf")
    narrow = Model.open(str(tiny("LlamaForCausalLM", hidden_size=48, head_dim=12)))
    weights = predict(
        ConfigOnlyModel(narrow.architecture),
        Pipeline.parse("int4:group=channel:embed=float:head=float"),
        Gguf.capability,
    ).weights
    with pytest.raises(UsageError, match=r"groups of 48, which 32 doesn't divide \(.*\); give group=32"):
        Gguf().check_weights(narrow.architecture, weights)
    with pytest.raises(UsageError, match=r"gguf can't hold what lowrank produces \(Factored\); --merge"):
        Gguf().check(Pipeline.parse("lowrank:rank=0.4").passes)
    with pytest.raises(UsageError, match="graph pass fuse does not apply to target gguf; remove it"):
        Gguf().check(Pipeline.parse("int4,fuse").passes)


def test_llama_cpp_computes_what_torch_does(untied, tmp_path, rounded):
    pytest.importorskip("llama_cpp", reason="llama.cpp is compiled by `make peers`")
    variant = make_variant(untied, lambda name, tensor: rounded(tensor, 32, 8), Gguf.capability, tmp_path / "v")
    out = tmp_path / "gguf"
    out.mkdir()
    contender = Contender.of_artifact(Gguf().export(variant, (), out, Silent()), "int8", "int8")
    assert contender.engine == "llama.cpp"
    logits = load_engine(contender.engine, out, contender.kind, 1).logits(TOKENS[0].numpy())
    expected = torch_logits(variant.torch_module())[0].numpy()
    assert np.linalg.norm(logits - expected) < 0.05 * np.linalg.norm(expected)  # it rounds inputs to 8 bits itself


def test_rounded_scales_are_told_of(untied, tmp_path, rounded):
    for place, form in {"exact": half, "rounded": lambda weight: weight}.items():
        variant = make_variant(
            untied, lambda name, tensor, form=form: form(rounded(tensor, 32, 4)), Gguf.capability, tmp_path / place
        )
        out, progress = tmp_path / f"{place}.gguf", Silent()
        out.mkdir()
        Gguf().export(variant, (), out, progress)
        assert [notice[:24] for notice in progress.notices] == (
            ["gguf has float16 scales:"] if place == "rounded" else []
        )


def test_the_engine_of_a_file_is_llama_cpp(untied, tmp_path):
    contender = Contender.of_artifact(Gguf().export(Model.open(str(untied)), (), tmp_path, Silent()), "float", "float")
    assert (contender.engine, contender.disk_bytes) == ("llama.cpp", (tmp_path / "model.gguf").stat().st_size)
