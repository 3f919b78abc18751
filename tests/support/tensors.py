"""Seeded tensors: token ids, Gaussian matrices, inputs shaped like a transformer's."""

from __future__ import annotations

import torch

from compress.calibration.statistics import LinearInput, RunningStatistics, Statistic
from compress.modeling.spaces.folds import Fold

F32, F64 = torch.float32, torch.float64


def token_ids(windows: int, length: int) -> torch.Tensor:
    """Random ids ``[windows, length]`` of the tiny models' vocabulary, none of them a special token."""
    return torch.randint(3, 300, (windows, length), generator=torch.Generator().manual_seed(1))


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    """Standard normal numbers of that shape."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def correlated(features: int, tokens: int = 2000, seed: int = 1) -> torch.Tensor:
    """Inputs ``[tokens, features]`` as a transformer's are: a few directions carry most, channels differ."""
    mix = gaussian(features // 4, features, seed=seed)
    sizes = torch.linspace(0.2, 3, features)[torch.randperm(features, generator=torch.Generator().manual_seed(seed))]
    x = gaussian(tokens, features // 4, seed=seed + 1) @ mix / (features // 4) ** 0.5
    return (x + 0.3 * gaussian(tokens, features, seed=seed + 2)) * sizes


def gram_of(x: torch.Tensor) -> torch.Tensor:
    """E[x xᵀ] ``[features, features]`` of inputs ``[tokens, features]``."""
    return x.T @ x / len(x)


def output_loss(difference: torch.Tensor, gram: torch.Tensor) -> float:
    """E‖(Ŵ - W) x‖², of a difference ``Ŵ - W`` ``[out, in]``."""
    return float(((difference @ gram) * difference).sum())


def input_statistics(features: int, level: Statistic = Statistic.GRAM, tokens: int = 600) -> LinearInput:
    """Statistics of inputs whose channels grow and overlap, beside an original's that differ by noise."""
    x = gaussian(tokens, features, seed=1) * torch.linspace(0.05, 3, features)
    x = x + x.roll(1, 1)
    inputs = RunningStatistics(level, features)
    inputs.update(x, 16, x + 0.2 * gaussian(tokens, features, seed=2))
    return inputs.finish()


def indefinite(pull: float) -> torch.Tensor:
    """The identity ``[64, 64]`` with two channels that pull at each other: no Gram matrix where ``pull`` exceeds 1."""
    gram = torch.eye(64)
    gram[0, 1] = gram[1, 0] = pull
    return gram


def random_scale(fold: Fold) -> torch.Tensor:
    """A scale from 0.5 to 1.5 for each channel of a fold's source that its consumers read, 1 for the others."""
    scale = torch.ones(fold.size)
    scale[fold.columns.unique()] = torch.rand(len(fold.columns.unique())) + 0.5
    return scale
