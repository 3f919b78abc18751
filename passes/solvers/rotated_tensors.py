"""A model's tensors with its spaces of channels rotated: every writer turned, every reader turned back.

What a norm's gain scales can't be rotated afterwards, so the gains go into the linears that read the norm, and the norm
is left with the gain 1. Its bias goes into their biases where all of them have one, and stays in the norm, rotated,
where one doesn't.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from compress.errors import PassError
from compress.lazy import torch
from compress.passes.solvers.rotation import rotation

if TYPE_CHECKING:
    from torch import Tensor

    from compress.modeling.spaces.norms import Norm
    from compress.modeling.spaces.space import Reader, Space, Writer

_SMALLEST_GAIN = 1e-3
"""Gain, relative to the largest, by which a bias is still divided."""


class RotatedTensors:
    """A tensor's new numbers, float32, by its name and its old ones; a linear's matrix is ``[out, in]``.

    ``read`` gives the model's own tensor of a name. The rotations are drawn once, from the ``generator``.
    """

    def __init__(self, spaces: Sequence[Space], read: Callable[[str], Tensor], generator: torch.Generator) -> None:
        self._read = read
        self._writers: dict[str, list[tuple[Space, Writer]]] = {}
        self._readers: dict[str, tuple[Space, Reader]] = {}
        self._norms: dict[str, tuple[Space, Norm]] = {}
        self._matrices = [rotation(space.size, generator, space.centered).float() for space in spaces]
        self._index = {id(space): i for i, space in enumerate(spaces)}
        for space in spaces:
            for writer in space.writers:
                self._writers.setdefault(writer.name, []).append((space, writer))
            self._readers |= {reader.name: (space, reader) for reader in space.readers}
            self._norms |= {path: (space, norm) for path, norm in space.norms.items()}
        self._biases = {
            reader.bias: reader
            for space, reader in self._readers.values()
            if reader.bias and reader.norm and self._into_biases(space, reader.norm)
        }

    def __call__(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor in its new form, as it is where it isn't of floats."""
        if not tensor.is_floating_point():
            return tensor
        x = tensor.float()
        path, _, part = name.rpartition(".")
        if path in self._norms:
            return self._norm(path, part, x)
        if name in self._biases:
            reader = self._biases[name]
            assert reader.norm is not None, "a bias takes in the bias of a norm"
            x = x + self._read(reader.name).float() @ self._norm_bias(reader.norm)[reader.columns]
        if name in self._readers:
            x = self._turn_reader(*self._readers[name], x)
        for space, writer in self._writers.get(name, ()):
            x = self._turn_writer(space, writer.axis, x)
        return x.contiguous()

    def _turn_reader(self, space: Space, reader: Reader, x: Tensor) -> Tensor:
        """A linear ``[out, in]`` of rotated inputs, which a norm delivers without its gain."""
        if reader.norm is not None:
            x = x * self._gain(reader.norm)[reader.columns]
        parts = x.view(len(x), -1, space.size)
        return (parts @ self._matrix(space).T).view_as(x)

    def _turn_writer(self, space: Space, axis: int, x: Tensor) -> Tensor:
        """What writes a space's channels along an axis."""
        channels = x.movedim(axis, -1)
        if space.size == channels.shape[-1]:
            return (channels @ self._matrix(space).T).movedim(-1, axis)
        turned = channels.clone()
        turned[..., space.rows] = channels[..., space.rows] @ self._matrix(space).T
        return turned.movedim(-1, axis)

    def _norm(self, path: str, part: str, x: Tensor) -> Tensor:
        """A norm's weight or bias once its gain is in the linears behind it."""
        space, norm = self._norms[path]
        if part == "weight":
            return torch.full_like(x, norm.neutral)
        if self._into_biases(space, path):
            return torch.zeros_like(x)
        gain = self._gain(path)
        if bool(x.any()) and float(gain.abs().min()) < _SMALLEST_GAIN * float(gain.abs().max()):
            raise PassError(
                f"rotate: {path} has a bias and gains near 0, and linears behind it have no bias to take it in; use "
                "residual=off"
            )
        return self._matrix(space) @ (x / gain)

    def _into_biases(self, space: Space, path: str) -> bool:
        """Whether all linears behind a norm have a bias that can take in the norm's."""
        linears = [reader for reader in space.readers if reader.norm == path]
        return space.norms[path].has_bias and all(linear.bias is not None for linear in linears)

    def _gain(self, path: str) -> Tensor:
        return self._read(f"{path}.weight").float() + self._norms[path][1].offset

    def _norm_bias(self, path: str) -> Tensor:
        return self._read(f"{path}.bias").float()

    def _matrix(self, space: Space) -> Tensor:
        return self._matrices[self._index[id(space)]]
