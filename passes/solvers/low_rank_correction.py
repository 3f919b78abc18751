"""Low-rank correction: a thin float product added to an integer matrix (EoRA, arXiv 2410.21271).

The error is factored under the inputs' metric (see `whitened_svd`), so that what is left of it costs the
outputs least.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from compress.passes.solvers.gptq import DAMPING
from compress.passes.solvers.whitened_svd import OutputMetric
from compress.weights.forms import Dense, Quantized, Residual
from compress.weights.stored import StoredForm

if TYPE_CHECKING:
    from compress.calibration.statistics import LinearInput
    from compress.weights.forms import Weight


def low_rank_correction(
    exact: Mapping[str, Weight],
    stored: Mapping[str, Weight],
    rank: int,
    inputs: LinearInput | None,
    toward_original: bool,
) -> dict[str, Weight]:
    """Correct matrices that read the same ``inputs``, as they are ``stored``, by a product of that rank each.

    ``toward_original``: what is corrected is the error against the matrix that makes up best for the inputs' mismatch,
    not against the ``exact`` one. Left out are products of their own, and a matrix that would no longer be smaller.
    """
    metric = OutputMetric(inputs)
    corrected: dict[str, Weight] = {}
    for name, weight in exact.items():
        base = stored[name]
        if isinstance(weight, Dense) and isinstance(base, Quantized):
            target = metric.target(weight.tensor, DAMPING) if toward_original else weight.tensor.double()
            spectrum = metric.spectrum(target - base.dequantize())
            residual = Residual(base, spectrum.product(min(rank, *base.shape), weight.tensor.dtype))
            if residual.nbytes() < weight.nbytes():
                corrected[name] = residual
    return corrected


def predict_correction(exact: StoredForm, stored: StoredForm, rank: int) -> StoredForm:
    """Predict how a corrected matrix is stored, from its integer form ``stored`` and its form before (``exact``)."""
    if exact.form != "dense":
        return stored
    (rows, columns), rank = exact.shape, min(rank, *exact.shape)
    left, right = (StoredForm.dense(shape, exact.itemsize) for shape in ((rows, rank), (rank, columns)))
    residual = StoredForm.repaired(stored, StoredForm.product(left, right))
    return residual if residual.nbytes < exact.nbytes else stored
