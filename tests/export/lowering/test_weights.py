"""Rows of matrices in every form, and weights that are read once."""

import pytest
import torch

from compress.export.lowering.weights import Rows, SlicedWeights, take_rows
from compress.weights.forms import Dense, Factored, Masked, Pivoted, Residual

ROWS = Rows("w", torch.tensor([6, 7, 0, 1]))
MATRIX = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
OTHER = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))


def forms(rounded):
    quantized = rounded(MATRIX, 16, bits=4, zero=True)
    product = Factored(Dense(OTHER), Dense(MATRIX[:4]))
    return [
        Dense(MATRIX),
        Masked(MATRIX * (MATRIX > 0), MATRIX > 0),
        quantized,
        rounded(MATRIX, None),
        product,
        Factored(rounded(OTHER, None), Dense(MATRIX[:4])),
        Residual(quantized, product),
        Pivoted(Dense(OTHER[:4]), rounded(MATRIX[:4], 16), torch.tensor([4, 1, 5, 0, 2, 6, 3, 7], dtype=torch.int32)),
    ]


@pytest.mark.parametrize("i", range(8))
def test_rows_of_every_form_are_those_of_its_matrix(rounded, i):
    weight = forms(rounded)[i]
    part = take_rows(weight, ROWS)
    assert type(part) is type(weight)
    assert part.shape == (4, 32)
    if isinstance(weight, Pivoted):  # products of fewer rows, whose sums torch may order otherwise
        assert torch.allclose(part.dequantize(), weight.dequantize()[ROWS.indices], rtol=0, atol=1e-6)
    else:
        assert torch.equal(part.dequantize(), weight.dequantize()[ROWS.indices])
    assert take_rows(weight, Rows("w")).dequantize().equal(weight.dequantize())


def test_rows_of_a_pivoted_product_take_along_what_they_need():
    weight = Pivoted(Dense(OTHER), Dense(MATRIX[:4]), torch.arange(12, dtype=torch.int32))
    part = take_rows(weight, Rows("w", torch.tensor([9, 1, 5])))
    assert part.left.shape == (2, 4)
    assert part.order.tolist() == [5, 1, 4]
    assert part.order.dtype == torch.int32
    assert torch.allclose(part.dequantize(), weight.dequantize()[[9, 1, 5]], rtol=0, atol=1e-6)
    pivots = take_rows(weight, Rows("w", torch.tensor([3, 0])))
    assert type(pivots) is Dense
    assert torch.equal(pivots.tensor, MATRIX[[3, 0]])


def test_a_matrix_is_read_once_for_all_of_its_pieces():
    read = []

    class Checkpoint:
        def weight(self, name):
            read.append(name)
            return Dense(MATRIX)

        def tensor(self, name):
            return MATRIX[:, 0]

    pieces = SlicedWeights(Checkpoint(), {"q": Rows("w", torch.arange(4)), "k": Rows("w", torch.arange(4, 8))})
    assert torch.equal(pieces.weight("q").tensor, MATRIX[:4])
    assert torch.equal(pieces.weight("k").tensor, MATRIX[4:])
    assert read == ["w"]
    assert torch.equal(pieces.tensor("k"), MATRIX[4:, 0])
    assert torch.equal(pieces.weight("other").tensor, MATRIX)
