"""Integers in 32-bit words against a naive reading of the bits."""

import pytest
import torch

from compress.formats.words import pack_words, unpack_words


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_word_holds_codes_from_its_lowest_bits(bits):
    lanes, low = 32 // bits, -(2 ** (bits - 1))
    codes = torch.randint(low, -low, (3, 2 * lanes), generator=torch.Generator().manual_seed(bits)).to(torch.int8)
    words = pack_words(codes, bits)
    assert words.dtype == torch.int32
    naive = [
        [[((int(word) >> (bits * i)) & (2**bits - 1)) + low for i in range(lanes)] for word in row] for row in words
    ]
    assert torch.tensor(naive).flatten(1).tolist() == codes.tolist()
    assert torch.equal(unpack_words(words, bits, codes.shape), codes)
    columns = pack_words(codes.T.contiguous(), bits, dim=0)
    assert torch.equal(columns, words.T)
    assert torch.equal(unpack_words(columns, bits, codes.T.shape, dim=0), codes.T)
