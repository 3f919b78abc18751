"""AWQ's words against a naive reading of its layout: eight outputs a word, in their own order."""

import pytest
import torch

from compress.formats.awq import AwqFormat
from compress.weights.forms import Quantized
from compress.weights.stored import StoredForm

NAME = "model.layers.0.mlp.up_proj.weight"
ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


def draw(zero, group=32, shape=(16, 64)):
    random = torch.Generator().manual_seed(0)
    codes = torch.randint(-8, 8, shape, generator=random).to(torch.int8)
    scale = (torch.rand(shape[0], shape[1] // group, generator=random) + 0.1).half()
    points = torch.randint(-8, 8, scale.shape, generator=random).to(torch.int8)
    return Quantized(codes, scale, 4, group, points if zero else None)


@pytest.mark.parametrize("zero", [False, True])
def test_a_word_holds_eight_outputs_in_awqs_order(zero):
    weight = draw(zero)
    tensors = AwqFormat().encode(NAME, weight, is_linear=True)
    stem = NAME.removesuffix("weight")
    codes, zeros = tensors[f"{stem}qweight"], tensors[f"{stem}qzeros"]
    assert (codes.shape, zeros.shape) == ((64, 2), (2, 2))
    for output in range(16):
        shift = 4 * ORDER.index(output % 8)
        for i in range(64):
            assert ((int(codes[i, output // 8]) >> shift) & 15) - 8 == int(weight.codes[output, i])
        for group in range(2):
            point = int(weight.zero_point[output, group]) if zero else 0
            assert ((int(zeros[group, output // 8]) >> shift) & 15) - 8 == point
    assert torch.equal(tensors[f"{stem}scales"], weight.scale.T)


@pytest.mark.parametrize("zero", [False, True])
def test_what_is_encoded_is_decoded(zero):
    weight, plain = draw(zero), AwqFormat()
    again = plain.decode(NAME, StoredForm.of(weight), plain.encode(NAME, weight, is_linear=True))
    assert torch.equal(again.codes, weight.codes)
    assert (again.zero_point is not None) == zero
    if zero:
        assert torch.equal(again.zero_point, weight.zero_point)
