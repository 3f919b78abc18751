"""Sentence encoders: the modules that make one embedding of a transformer's hidden states, in order.

Source: sentence-transformers, whose ``modules.json`` lists them; formulas are those of its ``Pooling``, ``Dense``,
``LayerNorm`` and ``Normalize``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

TOKENS, SENTENCE = "token_embeddings", "sentence_embedding"
"""What modules read and write: hidden states ``[b, s, width]`` and one embedding a text ``[b, width]``."""
POOLING_MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
"""Every way of pooling; several are concatenated."""
ACTIVATIONS: Mapping[str, type[torch.nn.Module]] = {
    cls.__name__: cls
    for cls in (
        torch.nn.Identity, torch.nn.Tanh, torch.nn.ReLU, torch.nn.GELU, torch.nn.Sigmoid, torch.nn.SiLU, torch.nn.ELU,
        torch.nn.LeakyReLU, torch.nn.Softplus, torch.nn.Softsign, torch.nn.Mish,
    )
}  # fmt: skip
"""Activations of a dense module by the names of their classes, which are made without options."""
LEAST_COUNT, LEAST_LENGTH = 1e-9, 1e-12
"""What a count of tokens and the length of an embedding are at least where they divide."""


@dataclass(frozen=True, kw_only=True)
class SentenceModule(ABC):
    """One module: ``reads`` names what comes in, ``writes`` what goes out, each `TOKENS` or `SENTENCE`."""

    reads: str = SENTENCE
    writes: str = SENTENCE
    kind: ClassVar[str]
    """the name of its class in ``modules.json``"""

    @abstractmethod
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """The output for an input ``[b, s, width]`` or ``[b, width]``; ``mask`` ``[b, s]`` is 1 where there is text."""

    def width(self, width: int) -> int:
        """The last size of its output where that of its input is ``width``; a ValueError where it takes another."""
        return width


@dataclass(frozen=True, kw_only=True)
class Pooling(SentenceModule):
    """One vector a text: of the first token, the last, the largest of each channel, or a mean; several side by side.

    ``takes``: the width of what it pools. Where ``include_prompt`` is off, the tokens of a prompt before the text
    don't count.
    """

    kind = "Pooling"
    modes: tuple[str, ...]
    takes: int
    include_prompt: bool = True
    reads: str = TOKENS

    def width(self, width: int) -> int:
        """So many times its input's."""
        return len(self.modes) * _same_width(self.takes, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Pooled vectors ``[b, modes · width]``."""
        return torch.cat([self._pooled(mode, x, mask) for mode in self.modes], dim=-1)

    def _pooled(self, mode: str, x: Tensor, mask: Tensor) -> Tensor:
        counted = mask[..., None].to(x.dtype)
        positions, first = torch.arange(mask.shape[1]), mask.int().argmax(1)
        if mode == "cls":
            return x[torch.arange(len(x)), first]
        if mode == "lasttoken":
            return (x * counted)[torch.arange(len(x)), (positions * mask).amax(1)]
        if mode == "max":
            return x.masked_fill(counted == 0, -torch.inf).amax(1)
        if mode == "weightedmean":
            counted = counted * (positions - first[:, None] + 1)[..., None]
        count = counted.sum(1).clamp_min(LEAST_COUNT)
        return (x * counted).sum(1) / (count.sqrt() if mode == "mean_sqrt_len_tokens" else count)


@dataclass(frozen=True, kw_only=True, eq=False)
class DenseLayer(SentenceModule):
    """``activation(x @ weight.T + bias)``, and where it ``adds_input`` that besides: through ``residual``, or as it is.

    ``activation`` is a name of `ACTIVATIONS`; ``weight`` and ``residual`` are ``[out, in]``.
    """

    kind = "Dense"
    weight: Tensor
    bias: Tensor | None
    activation: str
    adds_input: bool = False
    residual: Tensor | None = None

    def width(self, width: int) -> int:
        """The outputs of its matrix."""
        _same_width(self.weight.shape[1], width)
        return self.weight.shape[0]

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """As above."""
        y: Tensor = ACTIVATIONS[self.activation]()(functional.linear(x, self.weight, self.bias))
        if not self.adds_input:
            return y
        return y + (x if self.residual is None else functional.linear(x, self.residual))


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerNorm(SentenceModule):
    """Layer normalization with torch's own epsilon."""

    kind = "LayerNorm"
    weight: Tensor
    bias: Tensor
    epsilon: ClassVar[float] = 1e-5

    def width(self, width: int) -> int:
        """As wide as its weight."""
        return _same_width(len(self.weight), width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Normalized over the last axis."""
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)


@dataclass(frozen=True, kw_only=True)
class Normalize(SentenceModule):
    """Vectors of length 1."""

    kind = "Normalize"

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Divided by its length."""
        return functional.normalize(x, dim=-1, eps=LEAST_LENGTH)


@dataclass(frozen=True, kw_only=True)
class Truncation(SentenceModule):
    """The first ``size`` numbers of an embedding, all of it where it has fewer; none of ``modules.json``'s classes."""

    kind = "Truncation"
    size: int

    def width(self, width: int) -> int:
        """At most its size."""
        return min(self.size, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Its beginning."""
        return x[..., : self.size]


@dataclass(frozen=True)
class SentenceChain:
    """A sentence encoder's modules behind its transformer, in order."""

    modules: tuple[SentenceModule, ...]

    def embed(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Sentence embeddings ``[b, width]`` of the last hidden states ``[b, s, hidden]`` where ``mask`` is 1."""
        features = {TOKENS: hidden}
        for module in self.modules:
            features[module.writes] = module.forward(features[module.reads], mask)
        return features[SENTENCE]

    def width(self, hidden: int) -> int:
        """The width of an embedding. ValueError, in words, for modules that don't fit each other or make none."""
        widths = {TOKENS: hidden}
        for module in self.modules:
            if module.reads not in widths:
                raise ValueError(f"{module.kind} reads a {module.reads}, which nothing before it makes")
            try:
                widths[module.writes] = module.width(widths[module.reads])
            except ValueError as error:
                raise ValueError(f"{module.kind} {error}") from None
        if SENTENCE not in widths:
            raise ValueError("no module makes a sentence embedding, as a Pooling would")
        return widths[SENTENCE]

    @property
    def parameters(self) -> int:
        """Number of weights."""
        tensors = [value for module in self.modules for value in vars(module).values() if isinstance(value, Tensor)]
        return sum(tensor.numel() for tensor in tensors)

    def __str__(self) -> str:
        return ", ".join(_description(module) for module in self.modules)


def mean_pooling(hidden: int) -> SentenceChain:
    """What an encoder without modules of its own is compared by: the mean over its hidden states."""
    return SentenceChain((Pooling(modes=("mean",), takes=hidden),))


def _same_width(needed: int, width: int) -> int:
    if needed != width:
        raise ValueError(f"is {needed} wide, but gets {width}")
    return width


def _description(module: SentenceModule) -> str:
    match module:
        case Pooling():
            return f"{' and '.join(module.modes)} pooling"
        case DenseLayer():
            return f"a dense layer {module.weight.shape[1]} → {module.weight.shape[0]}"
        case Truncation():
            return f"the first {module.size}"
    return {"LayerNorm": "layer norm"}.get(module.kind, module.kind.lower())
