"""Reports of stored matrices: errors are finite numbers, fallbacks are told."""

import pytest
from pydantic import ValidationError

from compress.weights.stored import WeightReport


def report(solver="gptq", error=0.01, weight_error=0.02):
    return WeightReport(solver=solver, error=error, weight_error=weight_error)


@pytest.mark.parametrize("field", ["error", "weight_error"])
@pytest.mark.parametrize(
    ("value", "reason"),
    [(float("nan"), "finite_number"), (float("inf"), "finite_number"), (-0.1, "greater_than_equal")],
)
def test_an_error_is_a_finite_number(field, value, reason):
    with pytest.raises(ValidationError) as caught:
        report(**{field: value})
    assert [(error["loc"], error["type"]) for error in caught.value.errors()] == [((field,), reason)]


@pytest.mark.parametrize(("solver", "fell_back"), [("gptq", False), ("rtn", False), ("rtn (fallback: NaN)", True)])
def test_a_solver_says_whether_it_fell_back(solver, fell_back):
    assert report(solver).fell_back is fell_back
