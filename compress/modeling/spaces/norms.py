"""Norms of a transformers module: what each does to a vector, found out on numbers instead of by its class's name."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_TOLERANCE = 1e-4
_SHIFT = 3.0
"""What is added to every channel, to see whether the mean is taken out."""


@dataclass(frozen=True)
class Norm:
    """A norm that commutes with rotations of its vectors, but for its gain and bias.

    ``offset``: the gain is the weight plus that; 1 in Gemma. ``centered``: it takes the vector's mean out, so that it
    commutes with those rotations alone that leave the vector of ones where it is. ``has_bias``: it adds a vector.
    """

    offset: float
    centered: bool
    has_bias: bool

    @property
    def neutral(self) -> float:
        """The weight with which the gain is 1."""
        return 1.0 - self.offset


@torch.no_grad()
def read_norm(module: nn.Module) -> Norm | None:
    """The norm that a module is; None for anything else. The module itself may be on the meta device.

    Its own code is run in float32 on a few random vectors: with the gain 0 it must give 0, with another be linear in
    it, and turn with its inputs where they are rotated.
    """
    if not _has_gain(module):
        return None
    probe = copy.deepcopy(module).to_empty(device="cpu").float().eval()
    weight, bias = probe.get_parameter("weight"), dict(probe.named_parameters()).get("bias")
    generator = torch.Generator().manual_seed(0)
    size = weight.numel()
    x = torch.randn(4, size, generator=generator)
    gain = torch.randn(size, generator=generator)

    def output(gain: Tensor | float, shift: float = 0.0, inputs: Tensor = x) -> Tensor:
        weight.copy_(torch.as_tensor(gain).expand(size))
        if bias is not None:
            bias.fill_(shift)
        result: Tensor = probe(inputs)
        return result

    try:
        offset = next((o for o in (0.0, 1.0) if not bool(output(-o).any())), None)
        if offset is None:
            return None
        plain = output(1 - offset)
        centered = _alike(output(1 - offset, inputs=x + _SHIFT), plain)
        normal = torch.randn(size, generator=generator)
        normal = normal - normal.mean() if centered else normal
        holds = [
            _alike(output(gain - offset), plain * gain),
            _alike(output(1 - offset, inputs=_reflected(x, normal)), _reflected(plain, normal)),
            bias is None or _alike(output(1 - offset, shift=1.0), plain + 1),
        ]
    except Exception:  # a module that isn't called with one tensor alone
        return None
    return Norm(offset, centered, bias is not None) if all(holds) else None


def _has_gain(module: nn.Module) -> bool:
    """Whether a module has nothing but a vector ``weight``, and perhaps a ``bias``: no statistics of other inputs."""
    parameters = dict(module.named_parameters())
    if next(module.buffers(), None) is not None:
        return False
    return parameters.keys() in ({"weight"}, {"weight", "bias"}) and parameters["weight"].ndim == 1


def _alike(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(torch.allclose(a, b, rtol=_TOLERANCE, atol=_TOLERANCE))


def _reflected(x: Tensor, normal: Tensor) -> Tensor:
    """Vectors ``[…, n]`` mirrored at the plane with that ``normal``, which is a rotation as good as any."""
    return x - 2 * (x @ normal)[..., None] * normal / normal.square().sum()
