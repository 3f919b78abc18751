"""GPTQ's words against a naive reading of its layout, bit by bit."""

import pytest
import torch

from compress.formats.gptq import GptqFormat
from compress.weights.forms import Quantized
from compress.weights.stored import StoredForm

NAME = "model.layers.0.mlp.up_proj.weight"


def draw(bits, group=32, shape=(16, 64)):
    random = torch.Generator().manual_seed(bits)
    codes = torch.randint(-(2 ** (bits - 1)), 2 ** (bits - 1), shape, generator=random).to(torch.int8)
    scale = (torch.rand(shape[0], shape[1] // group, generator=random) + 0.1).half()
    return Quantized(codes, scale, bits, group)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_word_holds_inputs_one_after_another_from_the_lowest_bits(bits):
    weight = draw(bits)
    tensors = GptqFormat().encode(NAME, weight, is_linear=True)
    stem, lanes, middle = NAME.removesuffix("weight"), 32 // bits, 2 ** (bits - 1)
    words = tensors[f"{stem}qweight"]
    assert words.shape == (64 // lanes, 16)
    for i in range(64):
        for j in range(16):
            code = (int(words[i // lanes, j]) >> (bits * (i % lanes))) & (2**bits - 1)
            assert code - middle == int(weight.codes[j, i])
    zeros = tensors[f"{stem}qzeros"]
    assert {(int(word) >> (bits * i)) & (2**bits - 1) for word in zeros.flatten() for i in range(lanes)} == {middle - 1}
    assert tensors[f"{stem}g_idx"].tolist() == [0] * 32 + [1] * 32
    assert torch.equal(tensors[f"{stem}scales"], weight.scale.T)


@pytest.mark.parametrize("bits", [4, 8])
def test_what_is_encoded_is_decoded(bits):
    weight, plain = draw(bits), GptqFormat()
    again = plain.decode(NAME, StoredForm.of(weight), plain.encode(NAME, weight, is_linear=True))
    assert torch.equal(again.codes, weight.codes)
    assert torch.equal(again.scale, weight.scale)
    assert (again.bits, again.group, again.zero_point) == (bits, 32, None)
