"""Bytes against the format's own library."""

from dataclasses import replace

import pytest
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationScheme

from compress.formats.compressed_tensors import decode, encode, quantization_config
from compress.weights.forms import Dense, Factored, Masked, Pivoted, Quantized, Residual
from compress.weights.stored import PER_CHANNEL, StoredForm

NAME = "model.layers.0.mlp.up_proj.weight"


def quantized(bits, group, zero=False, act=None, seed=0):
    random = torch.Generator().manual_seed(seed)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    codes = torch.randint(low, high + 1, (24, 128), generator=random).to(torch.int8)
    scale = torch.rand(24, 128 // group, generator=random) + 0.1
    zero_point = torch.randint(low, high + 1, scale.shape, generator=random).to(torch.int8) if zero else None
    return Quantized(codes, scale, bits, group, zero_point, act)


@pytest.mark.parametrize("act", [None, "dynamic"])
@pytest.mark.parametrize(("bits", "group"), [(8, 128), (8, 64), (8, 32), (4, 32), (3, 32), (2, 64), (4, 128)])
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("linear", [True, False])
def test_their_library_reads_our_numbers(bits, group, zero, linear, act):
    weight = quantized(bits, group, zero, act)
    stored = StoredForm.of(weight)
    tensors = encode(NAME, weight, linear)
    config = quantization_config({NAME: stored}, [NAME] if linear else [], "0.20.0")
    scheme = QuantizationScheme.model_validate(config["config_groups"]["group_0"])
    local = {name.removeprefix("model.layers.0.mlp.up_proj."): tensor for name, tensor in tensors.items()}
    theirs = BaseCompressor.get_value_from_registry(config["format"]).decompress(local, scheme)["weight"]
    assert torch.equal(theirs.float(), weight.dequantize())


@pytest.mark.parametrize(("bits", "group"), [(8, 128), (8, 32), (4, 32), (3, 64)])
@pytest.mark.parametrize("zero", [False, True])
def test_what_is_encoded_is_decoded(bits, group, zero):
    weight = quantized(bits, group, zero)
    again = decode(NAME, StoredForm.of(weight), encode(NAME, weight, is_linear=True))
    assert torch.equal(again.codes, weight.codes)
    assert torch.equal(again.scale, weight.scale)
    assert (again.bits, again.group, again.act) == (weight.bits, weight.group, weight.act)
    assert zero == (again.zero_point is not None)


def test_dense_weights_are_plain_tensors():
    weight = Dense(torch.randn(4, 8).half())
    assert list(encode(NAME, weight, is_linear=True)) == [NAME]
    assert torch.equal(decode(NAME, StoredForm.of(weight), {NAME: weight.tensor}).tensor, weight.tensor)


def test_products_and_repaired_matrices_are_stored_part_by_part():
    left, right = Dense(torch.randn(24, 24)), Dense(torch.randn(24, 128).half())
    base, stem = quantized(4, 32, zero=True), NAME.removesuffix("weight")
    product = Factored(left, quantized(4, 32))
    order = torch.arange(48, dtype=torch.int32).flip(0)
    pivoted = [Pivoted(left, right, order), Pivoted(left, quantized(4, 32), order)]
    plain = [Factored(left, right), product]
    for weight in (*plain, *pivoted, Residual(base, Factored(left, right)), Residual(base, product)):
        tensors, stored = encode(NAME, weight, is_linear=True), StoredForm.of(weight)
        assert (f"{NAME}_packed" in tensors) == isinstance(weight, Residual)
        assert torch.equal(tensors[f"{stem}left.weight"], left.tensor)
        again = decode(NAME, stored, tensors)
        assert type(again) is type(weight)
        assert torch.equal(again.dequantize(), weight.dequantize())
        assert again.nbytes() == stored.nbytes == weight.nbytes()
        assert StoredForm.model_validate_json(stored.model_dump_json()) == stored


@pytest.mark.parametrize(
    "order", [torch.tensor([0, 0]), torch.tensor([0, 2]), torch.tensor([0]), torch.tensor([0.0, 1.0])]
)
def test_an_order_that_is_none_is_refused(order):
    weight = Pivoted(Dense(torch.ones(1, 1)), Dense(torch.ones(1, 4)), torch.tensor([1, 0], dtype=torch.int32))
    tensors = encode(NAME, weight, is_linear=True)
    wrong = {f"{NAME.removesuffix('weight')}order": order if order.is_floating_point() else order.int()}
    assert wrong.keys() <= tensors.keys()
    with pytest.raises(ValueError, match="2 outputs in no order"):
        decode(NAME, StoredForm.of(weight), tensors | wrong)


def test_masks_are_read_back_from_what_is_zero():
    mask = torch.rand(24, 128) > 0.5
    dense = Masked(torch.randn(24, 128) * mask, mask)
    assert torch.equal(decode(NAME, StoredForm.of(dense), encode(NAME, dense, is_linear=True)).mask, mask)
    for zero in (True, False):
        codes = quantized(4, 32, zero)
        codes = replace(codes, mask=codes.dequantize() != 0)
        again = decode(NAME, StoredForm.of(codes), encode(NAME, codes, is_linear=True))
        assert torch.equal(again.mask, codes.mask)
    config = quantization_config({NAME: StoredForm.of(codes), "b.weight": StoredForm.of(quantized(4, 32))}, [NAME], "1")
    assert config["sparsity_config"] == {}


def test_the_config_names_what_is_quantized_how():
    forms = {
        "a.weight": StoredForm.of(quantized(8, 64)),
        "b.weight": StoredForm.of(quantized(8, 64)),
        "c.weight": StoredForm.of(quantized(8, 128, act="dynamic")),
        "d.weight": StoredForm(form="dense", shape=(2, 1), nbytes=8),
        "embed.weight": StoredForm.of(quantized(8, 64)),
    }
    config = quantization_config(forms, ["a.weight", "b.weight", "c.weight", "d.weight", "pooler.weight"], "0.20.0")
    groups = config["config_groups"]
    assert [group["targets"] for group in groups.values()] == [["Linear"], ["c"], ["embed"]]
    assert [group["format"] for group in groups.values()] == ["pack-quantized", "int-quantized", "int-quantized"]
    assert groups["group_1"]["input_activations"]["strategy"] == "token"
    assert groups["group_1"]["weights"]["strategy"] == "channel"
    assert config["ignore"] == ["d", "pooler"]
    assert config["format"] == "mixed-precision"
    assert StoredForm.of(quantized(8, 128)).group == PER_CHANNEL
    assert quantization_config({"d.weight": forms["d.weight"]}, ["d.weight"], "0.20.0") is None
