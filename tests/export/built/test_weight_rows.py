"""Rows of a checkpoint's matrices, traced through what renames and cuts them up, and taken out of every form."""

import pytest
import torch

from compress.export.built.weight_rows import trace_rows
from compress.export.lowering.weights import Rows, SlicedWeights, take_rows
from compress.weights.forms import Dense, Factored, Masked, Residual

ROWS = Rows("w", torch.tensor([6, 7, 0, 1]))
MATRIX = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
OTHER = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))


def cut(tensors):
    """Heads of two rows each, q, k and v in turn; a matrix that is stored the other way; and numbers of its own."""
    found = {}
    for name, tensor in tensors.items():
        if "qkv" in name:
            heads = tensor.reshape(2, 3, 2, *tensor.shape[1:])
            found |= {name.replace("qkv", part): heads[:, i].flatten(0, 1) for i, part in enumerate("qkv")}
        elif "odd" in name:
            found |= {name: tensor.T[2:], "scaled": tensor * 2, "made": torch.zeros(3)}
        else:
            found[f"renamed.{name}"] = tensor
    return found


def test_pieces_are_traced_to_rows_of_one_tensor():
    tensors = {
        name: torch.empty(shape, device="meta")
        for name, shape in {
            "embed": (9, 4), "h.0.qkv.weight": (12, 4), "h.0.qkv.bias": (12,), "h.1.qkv.weight": (12, 4), "odd": (4, 6)
        }.items()
    }  # fmt: skip
    found = trace_rows(tensors, frozenset({"odd"}), cut)
    assert {name: rows.tensor for name, rows in found.items() if rows.indices is None} == {"renamed.embed": "embed"}
    assert {name: (rows.tensor, rows.indices.tolist()) for name, rows in found.items() if rows.indices is not None} == {
        **{
            f"h.{layer}.{part}.weight": (f"h.{layer}.qkv.weight", rows)
            for layer in (0, 1)
            for part, rows in {"q": [0, 1, 6, 7], "k": [2, 3, 8, 9], "v": [4, 5, 10, 11]}.items()
        },
        "h.0.q.bias": ("h.0.qkv.bias", [0, 1, 6, 7]),
        "h.0.k.bias": ("h.0.qkv.bias", [2, 3, 8, 9]),
        "h.0.v.bias": ("h.0.qkv.bias", [4, 5, 10, 11]),
        "odd": ("odd", [2, 3, 4, 5]),
    }


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
    ]


@pytest.mark.parametrize("i", range(7))
def test_rows_of_every_form_are_those_of_its_matrix(rounded, i):
    weight = forms(rounded)[i]
    part = take_rows(weight, ROWS)
    assert type(part) is type(weight)
    assert part.shape == (4, 32)
    assert torch.equal(part.dequantize(), weight.dequantize()[ROWS.indices])
    assert take_rows(weight, Rows("w")).dequantize().equal(weight.dequantize())


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
