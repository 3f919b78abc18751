"""Integers in graphs by explicit DequantizeLinear: multiplied as their dequantized matrix would be."""

from __future__ import annotations

import pytest
import torch

from compress.errors import ExportError
from compress.export.lowering import qdq
from compress.export.lowering.qdq import nibbles
from compress.weights.forms import Dense, Factored, Pivoted, Residual
from compress.weights.stored import StoredForm
from tests.support.graphs import operators, run_lowered
from tests.support.tensors import gaussian
from tests.support.weights import rounded

MATRIX, X, BIAS = gaussian(24, 64), gaussian(3, 64, seed=1), gaussian(24, seed=2)
LEFT, RIGHT = gaussian(24, 32, seed=3), gaussian(32, 64, seed=4)
FORMS = {
    "dense": Dense(MATRIX),
    "8 bits": rounded(MATRIX, None),
    "4 bits": rounded(MATRIX, 32, 4),
    "product": Factored(Dense(LEFT), rounded(RIGHT, 32, 4)),
    "pivoted": Pivoted(Dense(LEFT[:8, :16]), rounded(RIGHT[:16], 32, 4), torch.arange(24, dtype=torch.int32).roll(5)),
    "repaired": Residual(rounded(MATRIX, None), Factored(Dense(LEFT), Dense(RIGHT))),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_multiplies_as_its_matrix_in_standard_operators(tmp_path, form):
    weight = FORMS[form]
    actual, graph = run_lowered(
        tmp_path, lambda emit, x, bias: qdq.linear(emit, "w", weight, x, bias, shared=False), X, BIAS
    )
    expected = X @ weight.dequantize().T + BIAS
    assert (actual - expected).norm() < 1e-5 * expected.norm()
    assert set(operators(graph)) <= {
        "MatMul",
        "Add",
        "DequantizeLinear",
        *({"Concat", "Gather"} if form == "pivoted" else ()),
    }


def test_an_embedding_and_its_head_are_one_table(tmp_path):
    ids = torch.tensor([[3, 0]])

    def build(emit, ids):
        rows = qdq.embedding(emit, "w", FORMS["dense"], ids)
        return qdq.linear(emit, "w", FORMS["dense"], rows, None, shared=True)

    actual, graph = run_lowered(tmp_path, build, ids)
    assert torch.allclose(actual, MATRIX[ids] @ MATRIX.T, atol=1e-4)
    assert list(graph.initializers) == ["w"]
    with pytest.raises(ExportError, match="w: tables are float here, not Quantized"):
        run_lowered(tmp_path, lambda emit, ids: qdq.embedding(emit, "w", FORMS["8 bits"], ids), ids)


@pytest.mark.parametrize(
    ("options", "embedding", "reason"),
    [
        ({"form": "dense"}, True, None),
        ({"form": "quantized", "bits": 4, "group": 32}, False, None),
        ({"form": "quantized", "bits": 8, "group": -1}, False, None),
        ({"form": "quantized", "bits": 4, "group": 32}, True, "embeddings in integers (w); give embed=float"),
        (
            {"form": "quantized", "bits": 4, "group": 32, "symmetric": False},
            False,
            "zero points (w); give symmetry=sym",
        ),
        ({"form": "quantized", "bits": 8, "group": 32}, False, "8 bits in groups (w); give group=channel"),
    ],
)
def test_what_it_cannot_write_is_named_with_the_fix(options, embedding, reason):
    form = StoredForm(shape=(24, 64), nbytes=1536, **options)
    actual = qdq.unsupported_reason("w", form, embedding)
    assert (actual is None) == (reason is None)
    assert reason is None or actual.startswith(reason)


def test_the_first_of_two_codes_is_the_lower_half():
    assert nibbles(torch.tensor([[1, -2, 7], [-8, 0, 3]], dtype=torch.int8)).tolist() == [0xE1, 0x87, 0x30]
    assert nibbles(torch.tensor([5, -1, 2], dtype=torch.int8)).tolist() == [0xF5, 0x02]
