"""AWQ: scaling up the weights of the inputs' most active channels, so that these are rounded more finely.

Lin et al., arXiv 2306.00978. Input channel j is divided by s_j = E[x_j²]^(α/2), folded into whatever makes it, and the
weight's column multiplied by it. α is searched on the output error after rounding, with "no scaling" among the
candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compress.calibration.statistics import Statistic
from compress.passes.solvers.rounding import round_to_nearest
from compress.weights.error import output_error

if TYPE_CHECKING:
    from torch import Tensor

    from compress.calibration.statistics import LinearInput
    from compress.passes.solvers.grid import Grid

ALPHAS = tuple(i / 10 for i in range(1, 11))


@dataclass(frozen=True)
class AwqSearch:
    """The search of `smoothing.smooth` for float inputs; ``grid`` makes a grid of the inputs' count."""

    grid: Callable[[int], Grid]
    level = Statistic.GRAM

    def candidates(self, inputs: LinearInput, matrices: Sequence[Tensor]) -> list[Tensor]:
        """Scales to try, ``[in]``, one for each α."""
        activity = inputs.square.sqrt()
        return [activity.clamp(min=1e-5) ** alpha for alpha in ALPHAS]

    def error(self, matrix: Tensor, inputs: LinearInput, scale: Tensor) -> float:
        """Relative squared output error of a matrix ``[out, in]`` rounded with its columns scaled."""
        rounded = round_to_nearest(matrix * scale, self.grid(matrix.shape[1])).quantized().dequantize()
        return output_error(matrix, rounded / scale, inputs.gram)
