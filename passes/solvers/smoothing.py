"""Smoothing: move scales between weights and what makes their inputs, so that rounding loses less.

Input channel j is divided by s_j and the weight's column multiplied by it. The division is folded into whatever makes
the input (see `folds.Fold`), so that no operator is added. Scales are searched for each fold on the outputs'
error, with "no smoothing" among the candidates; what is tried and what counts as an error is a `Search`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from compress.calibration.precision import per_token
from compress.calibration.statistics import Statistic
from compress.lazy import torch
from compress.weights.forms import Dense, Factored, Pivoted

if TYPE_CHECKING:
    from torch import Tensor

    from compress.calibration.block import Block
    from compress.calibration.layer_inputs import BlockInputs
    from compress.calibration.statistics import LinearInput
    from compress.modeling.spaces.folds import Fold
    from compress.weights.forms import Quantized, Weight

ALPHAS = (0.5, 0.6, 0.7, 0.8, 0.9)


class Search(Protocol):
    """Search for a fold's scales: candidates, and their error."""

    @property
    def level(self) -> Statistic:
        """Statistics that the search reads."""

    def candidates(self, inputs: LinearInput, matrices: Sequence[Tensor]) -> list[Tensor]:
        """Scales to try, each ``[in]``, for matrices ``[out, in]`` that read the same inputs."""

    def error(self, matrix: Tensor, inputs: LinearInput, scale: Tensor) -> float:
        """Relative squared output error of a matrix when its columns are scaled."""


@dataclass(frozen=True)
class SmoothQuant:
    """SmoothQuant's search, for inputs in 8 bits (Xiao et al., arXiv 2211.10438): s_j = max|X_j|^α / max|W_j|^(1-α).

    ``quantize`` makes of a matrix what it will be stored as, so that the search sees the real error.
    """

    quantize: Callable[[Tensor], Quantized]
    level = Statistic.AMAX

    def candidates(self, inputs: LinearInput, matrices: Sequence[Tensor]) -> list[Tensor]:
        """Scales to try, ``[in]``, one for each α."""
        columns = torch.stack([matrix.abs().amax(0) for matrix in matrices]).amax(0)
        x, w = inputs.amax.clamp(min=1e-5), columns.clamp(min=1e-5)
        return [x**alpha / w ** (1 - alpha) for alpha in ALPHAS]

    def error(self, matrix: Tensor, inputs: LinearInput, scale: Tensor) -> float:
        """Relative squared output error on the sampled rows."""
        exact = inputs.sample @ matrix.T  # a scale doesn't change the product
        return rounded_inputs_error(exact, self.quantize(matrix * scale), inputs.sample / scale)


def smooth(block: Block, inputs: BlockInputs, search: Search) -> None:
    """Fold the best scales into a block, and into the original that it is compared with."""
    stats = dict(inputs.statistics(search.level))
    for fold in block.folds:
        fold_inputs = stats[fold.consumers[0]]
        scale = _best_scale(block, fold, fold_inputs, search)
        if scale is None:
            continue
        for smoothed in (block, inputs.original):
            if smoothed is not None:
                _apply(smoothed, fold, scale)
        stats.update(dict.fromkeys(fold.consumers, _scaled(fold_inputs, scale[fold.columns])))


def rounded_inputs_error(exact: Tensor, stored: Quantized, x: Tensor) -> float:
    """Relative squared error ‖Y - Q(X) Ŵᵀ‖² / ‖Y‖² of outputs ``[tokens, out]``, the inputs rounded."""
    return float((exact - per_token(x) @ stored.dequantize().T).square().sum() / exact.square().sum().clamp(min=1e-30))


def _best_scale(block: Block, fold: Fold, inputs: LinearInput, search: Search) -> Tensor | None:
    """The scale per source channel that gives the least error over all consumers; None where smoothing doesn't help."""
    matrices = [block.weights[name].dequantize() for name in fold.consumers]

    def error(scale: Tensor) -> float:
        return sum(search.error(matrix, inputs, scale[fold.columns]) for matrix in matrices)

    candidates = [_in_range(_shared(scale, fold)) for scale in search.candidates(inputs, matrices)]
    errors = [error(candidate) for candidate in candidates]
    best = min(range(len(candidates)), key=errors.__getitem__)
    return candidates[best] if errors[best] < error(torch.ones_like(candidates[best])) else None


def _in_range(scale: Tensor) -> Tensor:
    """The same ratios around 1, since only they matter; channels that nothing reads (0) stay as they are."""
    read = scale > 0
    return torch.where(read, (scale / scale[read].log().mean().exp()).clamp(1e-3, 1e3), 1.0)


def _shared(scale: Tensor, fold: Fold) -> Tensor:
    """The largest scale over all inputs of the consumers that one channel of the source is; 0 where it is none."""
    return torch.zeros(fold.size).scatter_reduce(0, fold.columns, scale, "amax")


def _apply(block: Block, fold: Fold, scale: Tensor) -> None:
    wide = scale[fold.columns]
    for name in fold.consumers:
        weight = block.weights[name]
        block.weights[name] = (
            replace(weight, right=_times(weight.right, wide)) if isinstance(weight, Factored) else _times(weight, wide)
        )
    bias = fold.source.removesuffix("weight") + "bias"
    if fold.source in block.weights:
        block.weights[fold.source] = _with_rows_times(block.weights[fold.source], 1 / scale)
    for name, offset in ((fold.source, fold.offset), (bias, 0.0)):
        if (vector := block.vectors.get(name)) is not None:
            block.vectors[name] = ((vector.float() + offset) / scale - offset).to(vector.dtype)


def _with_rows_times(weight: Weight, scale: Tensor) -> Weight:
    """A matrix with every output multiplied by its ``scale`` ``[out]``, in its form."""
    if isinstance(weight, Pivoted):
        sorted_scale = torch.empty_like(scale)
        sorted_scale[weight.order.long()] = scale
        pivots, others = sorted_scale.split([weight.right.shape[0], weight.left.shape[0]])
        left = _times(weight.left, others[:, None] / pivots)  # it reads what the pivots are now
        return replace(weight, left=left, right=_times(weight.right, pivots[:, None]))
    if isinstance(weight, Factored):
        return replace(weight, left=_times(weight.left, scale[:, None]))
    return _times(weight, scale[:, None])


def _times(weight: Weight, scale: Tensor) -> Dense:
    assert isinstance(weight, Dense)
    return replace(weight, tensor=(weight.tensor.float() * scale).to(weight.tensor.dtype))


def _scaled(inputs: LinearInput, scale: Tensor) -> LinearInput:
    """The statistics of inputs that are divided by a scale."""
    both = torch.outer(scale, scale) if inputs.level >= Statistic.GRAM else 1.0
    squared = scale.square() if inputs.level >= Statistic.SQUARE else 1.0
    return replace(
        inputs,
        amax=inputs.amax / scale,
        sample=inputs.sample / scale,
        square=inputs.square / squared,
        gram=inputs.gram / both,
    )
