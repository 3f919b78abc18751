"""Variants as checkpoints: transformers and compressed-tensors, each by itself, read ``dequantize()`` back exactly."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationScheme
from transformers import AutoModelForCausalLM, CompressedTensorsConfig

from compress.benchmarks.results.contender import Contender
from compress.benchmarks.runtime.load import load_engine
from compress.checkpoint.model import Model
from compress.checkpoint.variant import Variant
from compress.checkpoint.writing.writer import WriteOptions
from compress.errors import ExportError, ModelError, UsageError
from compress.export.targets.hf import Hf
from compress.pipeline.parse import Pipeline
from compress.progress import Silent
from compress.weights.forms import Dense
from tests.support.checkpoints import edit
from tests.support.models import copy_checkpoint
from tests.support.passes import make_variant
from tests.support.tensors import token_ids

TOKENS = token_ids(2, 12)
SCHEMES = list(itertools.product((2, 3, 4, 8), (32, 64, 128, None)))
"""Bits and group (none: a channel) of sixteen matrices."""
SIZES = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 4}


def assorted(rounded, zero):
    """Each projection of attention in a scheme of its own, the embedding in 4 bits."""

    def form(name, tensor):
        if "embed" in name:
            return rounded(tensor, 32, 4)
        if "self_attn" not in name:
            return Dense(tensor)
        layer, place = int(name.split(".")[2]), "qkvo".index(name.split(".")[4][0])
        bits, group = SCHEMES[4 * layer + place]
        return rounded(tensor, group, bits, zero)

    return form


def torch_logits(module):
    with torch.inference_mode():
        return module(TOKENS)[0]


def test_transformers_reads_every_symmetric_scheme_in_one_variant(tiny, tmp_path, rounded):
    path = tiny("LlamaForCausalLM", tie_word_embeddings=False, **SIZES)
    variant = make_variant(path, assorted(rounded, False), Hf.capability, tmp_path / "v")
    assert (
        len({(form.bits, form.group) for form in variant.manifest.weights.values()}) == 12 + 1
    )  # 128 is a channel here; and what is dense
    theirs = AutoModelForCausalLM.from_pretrained(variant.path, dtype=torch.float32)
    assert torch.equal(torch_logits(theirs), torch_logits(variant.torch_module()))


@pytest.mark.parametrize("zero", [False, True])
def test_compressed_tensors_reads_every_scheme(tiny, tmp_path, rounded, zero):
    path = tiny("LlamaForCausalLM", tie_word_embeddings=False, **SIZES)
    variant = make_variant(path, assorted(rounded, zero), Hf.capability, tmp_path / "v")
    config = json.loads((variant.path / "config.json").read_text())["quantization_config"]
    form, model, checked = assorted(rounded, zero), Model.open(str(path)), 0
    for group in config["config_groups"].values():
        scheme = QuantizationScheme.model_validate(group)
        reader = BaseCompressor.get_value_from_registry(group["format"])
        named = [t for t in group["targets"] if t != "Linear"]
        every = [name.removesuffix(".weight") for name, w in variant.manifest.weights.items() if w.form == "quantized"]
        others = [t for other in config["config_groups"].values() for t in other["targets"]]
        for stem in named or [name for name in every if name not in others]:
            stored = {
                key.removeprefix(f"{stem}."): variant.shards.raw(key)
                for key in variant.shards.where
                if key.startswith(stem)
            }
            theirs = reader.decompress(stored, scheme)["weight"]
            assert torch.equal(theirs, form(f"{stem}.weight", model.tensor(f"{stem}.weight")).dequantize())
            checked += 1
    assert checked == 17


@pytest.mark.parametrize(("bits", "group"), [(2, 32), (3, 32), (4, None), (8, 32)])
def test_transformers_reads_asymmetric_weights_where_it_is_told_to_dequantize(tiny, tmp_path, rounded, bits, group):
    """As they are, transformers 5.23 expects zero points that aren't packed; this fails once it takes packed ones."""

    def form(name, tensor):
        return rounded(tensor, group, bits, True) if "_proj" in name else Dense(tensor)

    variant = make_variant(tiny("LlamaForCausalLM", tie_word_embeddings=True), form, Hf.capability, tmp_path / "v")
    dequantizing = CompressedTensorsConfig(dequantize=True)
    theirs = AutoModelForCausalLM.from_pretrained(variant.path, dtype=torch.float32, quantization_config=dequantizing)
    assert torch.equal(torch_logits(theirs), torch_logits(variant.torch_module()))
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        AutoModelForCausalLM.from_pretrained(variant.path, dtype=torch.float32)


def test_an_artifact_is_the_variant_with_its_sizes(tiny, untied, llama, tmp_path, rounded):
    def form(name, tensor):
        return rounded(tensor, 32, 4)

    for path in (untied, llama):
        variant = make_variant(path, form, Hf.capability, tmp_path / path.name)
        artifact = Hf().export(variant, (), variant.path, Silent())
        every = {name: variant.shards.raw(name).nbytes for name in variant.shards.where}
        table = sum(size for name, size in every.items() if "embed_tokens" in name)
        rows, columns = Model.open(str(path)).shape("model.embed_tokens.weight")
        assert table == rows * columns + 4 * rows * columns // 32  # a byte a code: nothing loads a packed table
        assert (artifact.stored_bytes, artifact.read_bytes) == (sum(every.values()), sum(every.values()) - table)
        assert artifact.parameters == Model.open(str(path)).parameters


@pytest.mark.parametrize("zero", [False, True])
def test_a_checkpoint_that_others_read_differently_is_refused(untied, tmp_path, rounded, zero):
    def form(name, tensor):
        return rounded(tensor, 32, 4, zero) if "_proj" in name else Dense(tensor)

    variant = make_variant(untied, form, Hf.capability, tmp_path / "v")
    halved = {
        name: replace(variant.weight(name), scale=variant.weight(name).scale / 2)
        for name in variant.names
        if "down" in name
    }
    right = variant.weight
    object.__setattr__(variant, "weight", lambda name: halved.get(name) or right(name))
    message = (
        "compressed-tensors reads other numbers than the variant holds in .*down_proj"
        if zero
        else "transformers loads other numbers"
    )
    with pytest.raises(ExportError, match=message):
        Hf().export(variant, (), variant.path, Silent())


def test_what_has_no_place_is_refused(untied, tmp_path):
    with pytest.raises(UsageError, match="graph pass fuse does not apply to target hf; remove it"):
        Hf().check(Pipeline.parse("int8,fuse").passes)
    with pytest.raises(UsageError, match="hf: a variant is its own artifact, .*; leave out -o"):
        Hf().export(Model.open(str(untied)), (), tmp_path, Silent())


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "BertModel"])
def test_the_engine_says_what_the_dequantized_variant_says(tiny, tmp_path, rounded, name):
    def form(name, tensor):
        return rounded(tensor, 32, 3, True) if "_proj" in name or "layer." in name else Dense(tensor)

    variant = make_variant(tiny(name), form, Hf.capability, tmp_path / "v")
    contender = Contender.of_artifact(Hf().export(variant, (), variant.path, Silent()), "int3", "int3")
    assert (contender.engine, contender.read_bytes) == ("hf", None)
    assert contender.recipe == "int3, run as float32 in transformers"
    engine = load_engine("hf", variant.path, contender.kind, 1)
    module = variant.torch_module()
    if contender.kind.is_decoder_only:
        assert torch.equal(torch.from_numpy(engine.logits(TOKENS[0].numpy())), torch_logits(module)[0])
        table = module.get_input_embeddings().weight.nbytes
        assert engine.read_bytes() == sum(p.nbytes for p in module.parameters()) - table
    else:
        mask = torch.ones_like(TOKENS)
        assert torch.equal(torch.from_numpy(engine.embed(TOKENS.numpy(), mask.numpy())), torch_logits(module).mean(1))


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "BertModel"])
@pytest.mark.parametrize("pipeline", ["lowrank:rank=0.4:whiten=off", "lowrank:rank=0.4:whiten=off,int4:solver=rtn"])
def test_merged_products_load_as_plain_matrices(tiny, tmp_path, name, pipeline):
    path = tiny(name)
    for merge in (True, False):
        out = tmp_path / str(merge)
        variant = make_variant(path, pipeline, Hf.capability, out, options=WriteOptions(merge=merge))
        forms = {form.form for form in variant.manifest.weights.values()}
        assert ("factored" in forms) != merge
    with torch.no_grad():
        apart, merged = (Variant.open(tmp_path / str(merge)).torch_module()(TOKENS)[0] for merge in (False, True))
    assert torch.allclose(apart, merged, atol=1e-4)
    Hf().export(Variant.open(tmp_path / "True"), (), tmp_path / "True", Silent())
    assert "a variant made with" in " ".join((tmp_path / "False" / "README.md").read_text().split())
    assert "AutoModel" not in (tmp_path / "False" / "README.md").read_text()


def test_masked_integers_load_too(untied, tmp_path):
    out = tmp_path / "v"
    variant = make_variant(untied, "sparse24:solver=magnitude:refine=off,int4:solver=rtn", Hf.capability, out)
    Hf().export(variant, (), out, Silent())
    config = json.loads((out / "config.json").read_text())["quantization_config"]
    assert config["sparsity_config"] == {}
    for name in (name for name in variant.names if "_proj" in name):
        assert (variant.weight(name).mask.unflatten(1, (-1, 4)).sum(2) <= 2).all()


@pytest.mark.parametrize("pipeline", ["lowrank:rank=0.4", "int4:compensate=4", "sparse24,int8:compensate=4"])
def test_products_are_refused_before_the_work(pipeline):
    with pytest.raises(UsageError, match=r"hf can't hold what .* \((Factored|Residual)\); --merge stores"):
        Hf().check(Pipeline.parse(pipeline).passes)
    Hf().check(Pipeline.parse(pipeline).passes, merge=True)


def test_a_model_of_zeros_is_as_it_should_be(llama, tmp_path):
    path = copy_checkpoint(llama, tmp_path / "model")
    edit(path, lambda tensors: tensors.update({name: 0 * tensor for name, tensor in tensors.items()}))
    variant = make_variant(path, "int8:embed=float:head=float", Hf.capability, tmp_path / "v", TOKENS)
    assert Hf().export(variant, [], variant.path, Silent()).parameters == variant.parameters


def test_a_model_that_gives_nan_is_the_models_fault(llama, tmp_path):
    path = copy_checkpoint(llama, tmp_path / "model")
    edit(path, lambda tensors: tensors["model.norm.weight"].fill_(3e38))
    variant = make_variant(path, "int8:embed=float:head=float", Hf.capability, tmp_path / "v", TOKENS)
    with pytest.raises(ModelError, match="the model itself gives NaN or infinity in torch"):
        Hf().export(variant, [], variant.path, Silent())
