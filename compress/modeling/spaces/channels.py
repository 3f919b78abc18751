"""Labels of the tensors of a run, and what is found out about the spaces that they hold channels of.

A `Label` has a shadow: an integer tensor of its tensor's shape that says which channel each element is. Whatever
reshapes, splits or repeats the tensor does the same to the shadow, so that heads, packed projections and shared
key-value heads need no rule of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from compress.modeling.spaces.space import Reader, Writer

if TYPE_CHECKING:
    from compress.modeling.spaces.norms import Norm


@dataclass(frozen=True)
class Label:
    """What a tensor of the run holds: channels of a ``space``, element by element, behind a ``norm`` or not."""

    space: str
    shadow: Tensor = field(compare=False)
    norm: str | None = None


@dataclass
class SpaceRecord:
    """What is found out about a space, until the run has ended.

    ``fixed`` bool ``[channels]`` must not be rotated, and ``unscalable`` ones not be scaled either: something reads
    them that scales can't be taken back from.
    """

    fixed: Tensor
    writers: dict[Writer, None]
    readers: list[Reader]
    norms: dict[str, Norm]
    rows: list[Tensor]
    in_heads: bool = False
    reason: str | None = None
    unscalable: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.unscalable = torch.zeros_like(self.fixed)


class Ledger:
    """The labels of all tensors of a run, and the spaces; ``names`` are those of the parameters by their identity."""

    def __init__(self, names: Mapping[int, str]) -> None:
        self.names = names
        self._labels: MutableMapping[Tensor, Label] = WeakTensorKeyDictionary()
        self._transposed: MutableMapping[Tensor, str] = WeakTensorKeyDictionary()
        self._spaces: dict[str, SpaceRecord] = {}
        self._merged: dict[str, str] = {}
        self.spoiled_norms: set[str] = set()
        """those that something else than linears reads too"""

    def spaces(self) -> list[SpaceRecord]:
        """All spaces, merged ones once."""
        return list(self._spaces.values())

    def name(self, parameter: Tensor) -> str | None:
        """The name of a parameter; None of another tensor."""
        return self.names.get(id(parameter))

    def put(self, tensor: Tensor, label: Label) -> None:
        """Label a tensor."""
        self._labels[tensor] = label

    def put_transposed(self, tensor: Tensor, parameter: str) -> None:
        """Note that a tensor is a parameter transposed: a product with it is a linear."""
        self._transposed[tensor] = parameter

    def transposed(self, tensor: Tensor) -> str | None:
        """The name of the parameter that a tensor is, transposed; None of another tensor."""
        return self._transposed.get(tensor)

    def put_normed(self, path: str, norm: Norm, x: Tensor, out: Tensor) -> None:
        """Label what the norm at ``path`` makes of ``x``, and note that it reads its vectors."""
        label = self.label(x)
        if label is not None and label.norm is not None:
            self.fix(label, f"{path} reads what {label.norm} has normed")
            label = None
        if label is None:  # channels of their own, then
            self.space_of(path, None, x.shape[-1]).fixed[:] = True
            label = Label(self.root(path), torch.arange(x.shape[-1]).expand(x.shape))
        channels = self.channels(label)
        channels.norms[path] = norm
        channels.rows.append(vectors(label.shadow))
        channels.unscalable[label.shadow.unique()] = True
        self.put(out, replace(label, shadow=label.shadow.expand(out.shape), norm=path))

    def label(self, tensor: Tensor) -> Label | None:
        """A tensor's label; a parameter's is made on first use: its last axis holds channels of its own."""
        if (name := self.names.get(id(tensor))) is not None:
            size = tensor.shape[-1]
            self.space_of(name, Writer(name, -1), size)
            return Label(self.root(name), torch.arange(size).expand(tensor.shape))
        label = self._labels.get(tensor)
        return None if label is None else replace(label, space=self.root(label.space))

    def read_by_itself(self, name: str) -> bool:
        """Whether anything but a linear or a norm has read the parameter of that name."""
        return name in self._spaces or name in self._merged

    def open_label(self, tensor: Tensor) -> Label | None:
        """A tensor's label where some of its channels may still be rotated or scaled; of others nothing is to tell."""
        label = self.label(tensor)
        if label is None or label.norm is not None:
            return label
        channels, indices = self.channels(label), label.shadow.unique()
        return None if bool((channels.fixed & channels.unscalable)[indices].all()) else label

    def space_of(self, name: str, writer: Writer | None, size: int) -> SpaceRecord:
        """What is found out about the space of that name, which a parameter writes, or something else."""
        root = self.root(name)
        if root not in self._spaces:
            self._spaces[root] = SpaceRecord(torch.zeros(size, dtype=torch.bool), {}, [], {}, [])
        if writer is not None:
            self._spaces[root].writers[writer] = None
        return self._spaces[root]

    def channels(self, label: Label) -> SpaceRecord:
        """What is found out about a label's space."""
        return self._spaces[self.root(label.space)]

    def root(self, name: str) -> str:
        """The name of the space that a space is merged into."""
        while (parent := self._merged.get(name, name)) != name:
            name = parent
        return name

    def merge(self, a: Label, b: Label) -> None:
        """Make one of two spaces whose channels are added to each other."""
        first, second = self.root(a.space), self.root(b.space)
        if first == second:
            return
        kept, gone = self._spaces[first], self._spaces.pop(second)
        kept.fixed |= gone.fixed
        kept.unscalable |= gone.unscalable
        kept.writers |= gone.writers
        kept.readers += gone.readers
        kept.norms |= gone.norms
        kept.rows += gone.rows
        kept.in_heads |= gone.in_heads
        kept.reason = kept.reason or gone.reason
        self._merged[second] = first

    def fix(self, label: Label, reason: str, scalable: bool = False) -> None:
        """Note why a label's channels must not be rotated, nor scaled unless they are ``scalable``."""
        channels, indices = self.channels(label), label.shadow.unique()
        channels.fixed[indices] = True
        channels.reason = channels.reason or reason
        if not scalable:
            channels.unscalable[indices] = True
            if label.norm is not None:
                self.spoiled_norms.add(label.norm)

    def fix_all(self, values: object, reader: str) -> None:
        """Fix the channels of all tensors within ``values``, which something reads that doesn't rotate with them."""
        for tensor in tensors(values):
            if id(tensor) not in self.names and (label := self.label(tensor)) is not None:
                self.fix(label, f"{reader} reads it")


def vectors(shadow: Tensor) -> Tensor:
    """The vectors of channels ``[n, size]`` along a shadow's last axis, each once."""
    rows: Tensor = shadow.reshape(-1, shadow.shape[-1]).unique(dim=0)
    return rows


def tensors(values: object) -> list[Tensor]:
    """All tensors within lists, tuples and dicts."""
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, Mapping):
        return [tensor for value in values.values() for tensor in tensors(value)]
    if isinstance(values, tuple | list):
        return [tensor for value in values for tensor in tensors(value)]
    return []
