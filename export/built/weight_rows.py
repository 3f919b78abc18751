"""Map each graph weight to rows of a checkpoint tensor.

A graph may keep apart what a checkpoint stores in one matrix: queries, keys and values, or a gate and an up projection,
on top of each other or head by head. Whatever form a matrix is stored in, its rows can be taken by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from compress.export.lowering.weights import Rows

_NUMBER = 32  # bits that a row's number has in a probe; above them is the number of its tensor
_LAYER = re.compile(r"\.(\d+)\.")
Preprocess = Callable[[dict[str, Tensor]], Mapping[str, Tensor]]


def trace_rows(tensors: Mapping[str, Tensor], transposed: frozenset[str], preprocess: Preprocess) -> dict[str, Rows]:
    """Trace which rows of a checkpoint's ``tensors`` (on the meta device, as stored) ``preprocess`` puts where.

    Probes are sent through it, layer by layer, in which every number tells its tensor and row. What comes out as
    anything but rows of one tensor isn't listed. ``transposed`` names those stored ``[in, out]``.
    """
    rows: dict[str, Rows] = {}
    for group in _by_layer(tensors):
        numbers = {2 * i + 1: name for i, name in enumerate(group)}  # odd ones: what is scaled is nobody's
        probes = {name: _probe(number, group[name], name in transposed) for number, name in numbers.items()}
        for name, probe in preprocess(probes).items():
            if name in rows:  # outside the layers
                continue
            both_ways = (probe, probe.T) if probe.ndim == 2 else (probe,)
            for number, indices in filter(None, map(_decode, both_ways)):
                source = numbers.get(number)
                count = 0 if source is None else group[source].shape[1 if source in transposed else 0]
                if source is not None and int(indices.max()) < count:
                    is_all = len(indices) == count and bool((indices == torch.arange(count)).all())
                    rows[name] = Rows(source, None if is_all else indices)
                    break
    return rows


def _by_layer(tensors: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """The tensors of one layer at a time, so that few probes are in memory, each time with those outside the layers."""
    layers: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number = _LAYER.search(name)
        layers.setdefault(int(number[1]) if number else -1, {})[name] = tensor
    outside = layers.pop(-1, {})
    for layer in layers.values():
        yield outside | layer


def _probe(number: int, like: Tensor, transposed: bool) -> Tensor:
    """A tensor of the same shape in which a row's every number is its tensor's and its own.

    One that is ``transposed`` has a single input: by the longer side of attention's mobius tells which way round it is.
    """
    if like.ndim == 0:
        return torch.tensor(number << _NUMBER)
    rows = (number << _NUMBER) + torch.arange(like.shape[-1 if transposed else 0])
    if transposed:
        return rows.reshape(1, -1)
    return rows.reshape(-1, *[1] * (like.ndim - 1)).expand(like.shape)


def _decode(probe: Tensor) -> tuple[int, Tensor] | None:
    """The number of the tensor that a probe's rows are all from, and theirs; None where it holds something else."""
    if probe.ndim not in (1, 2) or probe.dtype != torch.int64 or probe.numel() == 0:
        return None
    rows = probe.reshape(len(probe), -1)
    first = rows[:, 0]
    numbers = first >> _NUMBER
    mixed = rows.stride(1) > 0 and bool((rows != first[:, None]).any())  # what has no stride is one number still
    if mixed or int(numbers[0]) < 1 or bool((numbers != numbers[0]).any()):
        return None
    return int(numbers[0]), first & ((1 << _NUMBER) - 1)
