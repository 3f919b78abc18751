"""Every weight form in onnxruntime's operators: multiplied and looked up as its dequantized matrix would be."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from compress.errors import ExportError
from compress.export.lowering import onnxruntime as nodes
from compress.weights.forms import Dense, Factored, Masked, Pivoted, Residual
from tests.support.graphs import operators, run_lowered
from tests.support.tensors import gaussian
from tests.support.weights import rounded

MATRIX, X, BIAS = gaussian(24, 64), gaussian(3, 64, seed=1), gaussian(24, seed=2)
LEFT, RIGHT = gaussian(24, 32, seed=3), gaussian(32, 64, seed=4)
FORMS = {
    "dense": (Dense(MATRIX), {"MatMul": 1}),
    "half": (Dense(MATRIX.half()), {"MatMul": 1, "Cast": 1}),
    "masked": (Masked(MATRIX * (MATRIX > 0), MATRIX > 0), {"MatMul": 1}),
    "8 bits": (rounded(MATRIX, 32), {"MatMulNBits": 1}),
    "4 bits, asymmetric": (rounded(MATRIX, 64, 4, zero=True), {"MatMulNBits": 1}),
    "2 bits": (rounded(MATRIX, None, 2), {"MatMulNBits": 1}),
    "6 bits": (rounded(MATRIX, 32, 6), {"MatMulNBits": 1, "Concat": 1, "Mul": 1}),
    "3 bits, asymmetric": (rounded(MATRIX, 16, 3, zero=True), {"MatMulNBits": 1, "Concat": 1, "Mul": 1}),
    "product": (Factored(Dense(LEFT), rounded(RIGHT, 32, 4)), {"MatMul": 1, "MatMulNBits": 1}),
    "pivoted": (
        Pivoted(rounded(LEFT[:8, :16], 16, 4), Dense(RIGHT[:16]), torch.arange(24, dtype=torch.int32).roll(5)),
        {"MatMul": 1, "MatMulNBits": 1, "Concat": 1, "Gather": 1},
    ),
    "repaired": (
        Residual(rounded(MATRIX, 32, 4), Factored(Dense(LEFT), Dense(RIGHT))), {"MatMul": 2, "MatMulNBits": 1}
    ),
}  # fmt: skip


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_multiplies_as_its_matrix(tmp_path, form, biased):
    weight, expected_operators = FORMS[form]
    bias = (BIAS,) if biased else (None,)

    def build(emit, x, bias=None):
        return nodes.linear(emit, "w", weight, x, bias, shared=False)

    actual, graph = run_lowered(tmp_path, build, X, *(b for b in bias if b is not None))
    expected = X @ weight.dequantize().float().T + (BIAS if biased else 0)
    assert (actual - expected).norm() < 1e-5 * expected.norm()
    names = operators(graph)
    assert {name: names.count(name) for name in expected_operators} == expected_operators


@pytest.mark.parametrize("form", ["dense", "8 bits", "4 bits, asymmetric", "6 bits", "3 bits, asymmetric"])
def test_a_shared_matrix_is_looked_up_in_the_same_bytes(tmp_path, form):
    weight, ids = FORMS[form][0], torch.tensor([[3, 0], [23, 3]])

    def build(emit, ids):
        rows = nodes.embedding(emit, "w", weight, ids)
        return nodes.linear(emit, "w", weight, rows, None, shared=True)

    actual, graph = run_lowered(tmp_path, build, ids)
    matrix = weight.dequantize().float()
    expected = matrix[ids] @ matrix.T
    assert (actual - expected).norm() < 1e-5 * expected.norm()
    places = {(v.const_value.offset, v.const_value.nbytes) for v in graph.initializers.values() if "code" in v.name}
    assert len(places) == {"dense": 0, "6 bits": 3, "3 bits, asymmetric": 3}.get(form, 1)


def test_inputs_that_are_rounded_are_so_token_by_token(tmp_path):
    """A token a thousand times larger than the others costs them nothing, but for one scale for all."""
    weight, x = rounded(MATRIX, None, act="dynamic"), X * torch.tensor([[1000.0], [1.0], [1.0]])
    expected = x @ weight.dequantize().T
    errors = {}
    for per_token in (True, False):
        (folder := tmp_path / str(per_token)).mkdir()
        actual, _ = run_lowered(
            folder, lambda emit, x, p=per_token: nodes.dynamic(emit, "w", weight, x, None, p), x
        )  # fmt: skip
        errors[per_token] = float((actual - expected)[1:].norm() / expected[1:].norm())
    assert errors[True] < 0.01
    assert errors[False] > 0.5


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (rounded(MATRIX, 32, act="dynamic"), "w: inputs can be quantized only with .* one scale a channel"),
        (replace(rounded(MATRIX, None), act="dynamic"), "w: codes beyond ±64 would saturate"),
    ],
)
def test_integers_that_would_saturate_are_refused(tmp_path, weight, message):
    with pytest.raises(ExportError, match=message):
        run_lowered(tmp_path, lambda emit, x: nodes.linear(emit, "w", weight, x, None, shared=False), X)


def test_a_table_is_no_product(tmp_path):
    with pytest.raises(ExportError, match="w: ort-cpu can't hold Factored embeddings"):
        run_lowered(
            tmp_path, lambda emit, ids: nodes.embedding(emit, "w", FORMS["product"][0], ids), torch.tensor([1])
        )  # fmt: skip
