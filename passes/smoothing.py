"""Smoothing: moving the range of activations into the weights, so that both fit 8 bits.

SmoothQuant (Xiao et al., arXiv 2211.10438) divides input channel j by s_j = max|X_j|^α / max|W_j|^(1-α) and multiplies
the weight's column by it. The division is folded into whatever makes the input (see `compress.block.Fold`), so that no
operator is added. Here α is searched for each fold on the outputs' error, with "no smoothing" among the candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from compress.block import Block, Fold
from compress.statistics import InputStatistics, LinearInput
from compress.weight import Dense, Quantized, Weight

ALPHAS = (0.5, 0.6, 0.7, 0.8, 0.9)

Quantizer = Callable[[Tensor], Quantized]


def smooth(block: Block, stats: InputStatistics, quantize: Quantizer) -> InputStatistics:
    """Fold the best scales into a block; returns the statistics as they are afterwards.

    ``quantize`` makes of a matrix what it will be stored as, so that the search sees the real error.
    """
    seen = dict(stats)
    for fold in block.folds:
        scale = _best_scale(block, fold, seen[fold.consumers[0]], quantize)
        if scale is None:
            continue
        _apply(block, fold, scale)
        smoothed = _scaled(seen[fold.consumers[0]], _spread(scale, fold))
        seen.update(dict.fromkeys(fold.consumers, smoothed))
    return seen


def per_token(x: Tensor) -> Tensor:
    """Inputs ``[tokens, features]`` as a runtime sees them that rounds every token to 8 bits by its own scale."""
    scale = x.abs().amax(-1, keepdim=True).clamp(min=1e-12) / 127
    return (x / scale).round_().mul_(scale)


def output_error(exact: Tensor, stored: Quantized, x: Tensor) -> float:
    """Relative squared error ‖Y - Q(X) Ŵᵀ‖² / ‖Y‖² of outputs ``[tokens, out]``, the inputs rounded."""
    return float((exact - per_token(x) @ stored.dequantize().T).square().sum() / exact.square().sum().clamp(min=1e-30))


def _best_scale(block: Block, fold: Fold, inputs: LinearInput, quantize: Quantizer) -> Tensor | None:
    """The scale per source channel that gives the least error over all consumers; None where smoothing doesn't help."""
    matrices = [block.weights[name].dequantize() for name in fold.consumers]
    exact = [inputs.sample @ matrix.T for matrix in matrices]  # a scale doesn't change the product
    columns = torch.stack([matrix.abs().amax(0) for matrix in matrices]).amax(0)
    largest_x, largest_w = _shared(inputs.amax, fold), _shared(columns, fold)

    def error(scale: Tensor) -> float:
        wide = _spread(scale, fold)
        x = inputs.sample / wide
        return sum(output_error(y, quantize(matrix * wide), x) for y, matrix in zip(exact, matrices, strict=True))

    candidates = [_scale(largest_x, largest_w, alpha) for alpha in ALPHAS]
    errors = [error(candidate) for candidate in candidates]
    best = min(range(len(ALPHAS)), key=errors.__getitem__)
    return candidates[best] if errors[best] < error(torch.ones_like(largest_x)) else None


def _scale(largest_x: Tensor, largest_w: Tensor, alpha: float) -> Tensor:
    scale = largest_x.clamp(min=1e-5) ** alpha / largest_w.clamp(min=1e-5) ** (1 - alpha)
    scale = scale / scale.log().mean().exp()  # only the ratios matter; this keeps the numbers in range
    return scale.clamp(1e-3, 1e3)


def _shared(largest: Tensor, fold: Fold) -> Tensor:
    """The largest magnitude over all consumer channels that one source channel feeds."""
    return largest.view(-1, fold.repeat, fold.head).amax(1).flatten()


def _spread(scale: Tensor, fold: Fold) -> Tensor:
    """A scale per source channel as a scale per consumer channel."""
    return scale.view(-1, 1, fold.head).expand(-1, fold.repeat, -1).flatten()


def _apply(block: Block, fold: Fold, scale: Tensor) -> None:
    wide = _spread(scale, fold)
    for name in fold.consumers:
        block.weights[name] = _times(block.weights[name], wide)
    bias = fold.source.removesuffix("weight") + "bias"
    if fold.source in block.weights:
        block.weights[fold.source] = _times(block.weights[fold.source], 1 / scale[:, None])
    for name in {fold.source, bias} & block.vectors.keys():
        vector = block.vectors[name]
        block.vectors[name] = (vector.float() / scale).to(vector.dtype)


def _times(weight: Weight, scale: Tensor) -> Dense:
    assert isinstance(weight, Dense)
    return replace(weight, tensor=(weight.tensor.float() * scale).to(weight.tensor.dtype))


def _scaled(inputs: LinearInput, scale: Tensor) -> LinearInput:
    return replace(inputs, amax=inputs.amax / scale, sample=inputs.sample / scale)
