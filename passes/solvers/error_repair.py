"""Compensation: a thin float product beside an integer matrix that repairs its error (EoRA, arXiv 2410.21271).

The error is factored under the inputs' metric (see `whitened_svd`), so that what is left of it costs the
outputs least.
"""

from __future__ import annotations

from collections.abc import Mapping

from compress.calibration.statistics import LinearInput
from compress.passes.solvers.gptq import DAMPING
from compress.passes.solvers.whitened_svd import Metric
from compress.weights.forms import Dense, Quantized, Residual, Weight
from compress.weights.stored import StoredForm


def repair(
    exact: Mapping[str, Weight], stored: Mapping[str, Weight], rank: int, inputs: LinearInput | None, aimed: bool
) -> dict[str, Weight]:
    """Matrices that read the same ``inputs`` as they are ``stored``, each with a product of that rank.

    ``aimed``: what is repaired is the error against the matrix that makes up best for the inputs' mismatch, not against
    the ``exact`` one. Products of their own stay as they are, and so does a matrix that would no longer be smaller.
    """
    metric = Metric(inputs)
    repaired: dict[str, Weight] = {}
    for name, weight in exact.items():
        base = stored[name]
        if isinstance(weight, Dense) and isinstance(base, Quantized):
            target = metric.target(weight.tensor, DAMPING) if aimed else weight.tensor.double()
            spectrum = metric.spectrum(target - base.dequantize())
            whole = Residual(base, spectrum.product(min(rank, *base.shape), weight.tensor.dtype))
            if whole.nbytes() < weight.nbytes():
                repaired[name] = whole
    return repaired


def predict_repair(exact: StoredForm, stored: StoredForm, rank: int) -> StoredForm:
    """How a matrix is stored once `repair` is done with it, from how it was and how its codes are stored."""
    if exact.form != "dense":
        return stored
    (rows, columns), rank = exact.shape, min(rank, *exact.shape)
    factors = [StoredForm.dense(shape, exact.itemsize) for shape in ((rows, rank), (rank, columns))]
    whole = StoredForm.repaired(stored, StoredForm.product(*factors))
    return whole if whole.nbytes < exact.nbytes else stored
