"""Folds of a layer: places where its linears' inputs can be divided by a scale without an operator more.

A norm's gain is divided where nothing but linears reads what it norms, a linear's rows where nothing but other linears
reads its outputs, channel by channel: ``up`` before ``down``, ``v`` before ``o`` (SmoothQuant, Xiao et al., arXiv
2211.10438, and its successors). Who reads what is seen in a run of the model's own code, not told by names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from compress.modeling.experts import expert_weights
from compress.modeling.modules import linears
from compress.modeling.spaces.trace import trace

if TYPE_CHECKING:
    from compress.modeling.architecture import Architecture
    from compress.modeling.spaces.channels import Ledger, SpaceRecord
    from compress.modeling.spaces.norms import Norm
    from compress.modeling.spaces.space import Reader


@dataclass(frozen=True)
class Fold:
    """A place where inputs can be divided by a scale: ``source`` is divided, the columns of ``consumers`` multiplied.

    ``source`` is a norm's weight (a vector), whose gain is the weight plus ``offset``, or a matrix whose rows make the
    inputs; ``size`` is the number of its channels. ``columns`` int64 ``[in]``: the channel that each input of the
    consumers is. In grouped-query attention one value head serves several query heads, so that these share a scale.
    """

    source: str
    consumers: tuple[str, ...]
    columns: Tensor = field(compare=False)
    size: int
    offset: float = 0.0

    def in_layer(self, path: str, other: str) -> Fold:
        """The fold of the layer ``other``, which is like the one at ``path``."""
        source, *consumers = (f"{other}{name.removeprefix(path)}" for name in (self.source, *self.consumers))
        return replace(self, source=source, consumers=tuple(consumers))

    def restricted(self, rows: Tensor, columns: Tensor) -> Fold:
        """The fold once only the marked ``rows`` of its source are left, and ``columns`` of its consumers."""
        numbers = rows.cumsum(0) - 1
        return replace(self, columns=numbers[self.columns[columns]], size=int(rows.sum()))


def folds_of(architecture: Architecture, layer: str) -> tuple[Fold, ...]:
    """The folds that the layer of that path offers; none where the model's code can't be followed without numbers.

    Experts offer none: the statistics of all of them at a time are too much.
    """
    path, _, number = layer.rpartition(".")
    traced = _traced(architecture)
    if traced is None:
        return ()
    places, folds = traced
    alike = f"{path}.{places[path][int(number)]}"
    return tuple(fold.in_layer(alike, layer) for fold in folds if fold.source.startswith(f"{alike}."))


@lru_cache(maxsize=4)
def _traced(architecture: Architecture) -> tuple[dict[str, Sequence[int]], tuple[Fold, ...]] | None:
    """The folds of one layer of each kind, and where in its stack the one of a layer's kind is."""
    module, places = architecture.distinct_layers()
    matrices = linears(module).keys() - expert_weights(module)
    layers = [f"{path}.{number}." for path, numbers in places.items() for number in set(numbers)]
    try:
        ledger = trace(module, architecture.kind, architecture.outline.tied)
    except Exception:  # as in `find_spaces`
        return None
    folds = [fold for fold in (*_behind_norms(ledger), *_behind_linears(ledger)) if _within_one(fold, layers)]
    norms = {f"{path}.weight" for record in ledger.spaces() for path in record.norms}
    usable = (fold for fold in folds if matrices.issuperset(fold.consumers) and fold.source in matrices | norms)
    return dict(places), tuple(fold for fold in usable if not any(map(ledger.read_by_itself, _names(fold))))


def _behind_norms(ledger: Ledger) -> Iterator[Fold]:
    """Norms that nothing but linears reads."""
    records = ledger.spaces()
    readers: dict[str, list[Reader]] = {}
    for reader in (reader for record in records for reader in record.readers if reader.norm):
        readers.setdefault(str(reader.norm), []).append(reader)
    for record in records:
        for path, norm in record.norms.items():
            if path in readers and path not in ledger.spoiled_norms:
                yield from _behind_norm(record, path, norm, readers[path])


def _behind_norm(record: SpaceRecord, path: str, norm: Norm, readers: Sequence[Reader]) -> Iterator[Fold]:
    """The fold of a norm of all channels of a space; none of a norm of their parts, as of each head."""
    size = len(record.fixed)
    whole = all(torch.equal(rows, torch.arange(size)[None]) for rows in record.rows)
    if whole and (columns := _common_columns(readers)) is not None:
        yield Fold(f"{path}.weight", _consumers(readers), columns, size, norm.offset)


def _behind_linears(ledger: Ledger) -> Iterator[Fold]:
    """Linears whose outputs nothing but linears reads, at least of those channels that linears read."""
    for record in ledger.spaces():
        sources = [writer.name for writer in record.writers if writer.axis == 0]
        if record.norms or len(sources) != 1:
            continue
        own = {sources[0], f"{sources[0].removesuffix('weight')}bias"}
        columns = _common_columns(record.readers)
        if columns is None or not own.issuperset(writer.name for writer in record.writers):
            continue
        if not bool(record.unscalable[columns].any()):
            yield Fold(sources[0], _consumers(record.readers), columns, len(record.fixed))


def _common_columns(readers: Sequence[Reader]) -> Tensor | None:
    """The channels that the inputs of all ``readers`` are; None where they read different ones, or there are none."""
    alike = bool(readers) and all(torch.equal(reader.columns, readers[0].columns) for reader in readers)
    return readers[0].columns if alike else None


def _consumers(readers: Iterable[Reader]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(reader.name for reader in readers))


def _names(fold: Fold) -> tuple[str, ...]:
    return (fold.source, *fold.consumers)


def _within_one(fold: Fold, layers: Iterable[str]) -> bool:
    """Whether a fold lies within one of the ``layers``, by the starts of their tensors' names."""
    return any(all(name.startswith(layer) for name in _names(fold)) for layer in layers)
