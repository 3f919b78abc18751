"""Variants are read back as they were written; what is none, or is damaged, is named."""

import pytest
import torch

from compress.checkpoint.model import Model
from compress.checkpoint.variant import Variant
from compress.errors import ModelError
from compress.export.targets.ort_cpu import OrtCpu
from compress.weights.forms import Quantized
from tests.support.passes import make_variant
from tests.support.tensors import token_ids

TOKENS = token_ids(4, 24)


def make(source, pipeline, out, seed=0):
    return make_variant(source, pipeline, OrtCpu.capability, out, TOKENS, seed)


def test_the_variant_reads_back_what_the_passes_made(llama, tmp_path):
    variant = Variant.open(make(llama, "int8:group=32", tmp_path / "v").path)
    model = Model.open(str(llama))
    for name in variant.names:
        if name.endswith("proj.weight") or "embed" in name:
            weight = variant.weight(name)
            assert isinstance(weight, Quantized)
            assert (weight.bits, weight.group, weight.act) == (8, 32, None)
            step = weight.scale.repeat_interleave(32, 1)
            assert ((weight.dequantize() - model.tensor(name)).abs() <= step / 2 + 1e-6).all()
        else:
            assert torch.equal(variant.tensor(name), model.tensor(name))
    assert variant.tied
    assert variant.config.tie_word_embeddings
    assert variant.names == model.names


def test_a_directory_that_is_no_variant_is_refused(llama):
    with pytest.raises(ModelError, match="is not a variant: it has no compress.json"):
        Variant.open(llama)


def test_a_variant_whose_bytes_changed_is_refused(llama, tmp_path):
    file = make(llama, "int8", tmp_path / "v").path / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelError, match="model.safetensors"):
        Variant.open(file.parent)


def test_a_damaged_manifest_is_named(llama, tmp_path):
    variant = make(llama, "int8", tmp_path / "v")
    (variant.path / "compress.json").write_text("{}")
    with pytest.raises(ModelError, match=r"compress.json can't be read: source: Field required"):
        Variant.open(variant.path)
