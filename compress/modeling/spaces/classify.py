"""Sort the spaces of a run into residual streams and values of attention heads, or say why there are none."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from compress.modeling.spaces.channels import SpaceRecord
from compress.modeling.spaces.space import Space, Spaces


def classify(found: Sequence[SpaceRecord]) -> Spaces:
    """Sort what was found into streams and heads; a reason is that of the space which is read the most."""
    _fix_shared_linears(found)
    streams = [space for channels in found if (space := _stream(channels)) is not None]
    heads = [space for channels in found if (space := _in_heads(channels)) is not None]
    most_read = sorted(found, key=lambda channels: len(channels.readers), reverse=True)
    stream_reason = next((c.reason for c in most_read if c.norms and c.reason), "no norm reads it")
    heads_reason = next((c.reason for c in most_read if c.in_heads and c.reason), "there is no attention")
    return Spaces(tuple(streams), tuple(heads), None if streams else stream_reason, None if heads else heads_reason)


def _fix_shared_linears(found: Sequence[SpaceRecord]) -> None:
    """Fix what one linear reads in several places: its matrix can be rotated for one of them alone."""
    places: dict[str, set[tuple[int, str | None]]] = {}
    for i, channels in enumerate(found):
        for reader in channels.readers:
            places.setdefault(reader.name, set()).add((i, reader.norm))
    for name, here in places.items():
        for i, _ in here if len(here) > 1 else ():
            found[i].fixed[:] = True
            found[i].reason = found[i].reason or f"{name} reads it and something else"


def _stream(channels: SpaceRecord) -> Space | None:
    """All channels of a space that norms read as one vector; None where one of them is fixed."""
    rows = _distinct(channels.rows)
    if channels.in_heads or not channels.norms or rows.shape != (1, len(channels.fixed)) or bool(channels.fixed.any()):
        return None
    return Space(tuple(channels.writers), tuple(channels.readers), channels.norms, rows, in_heads=False)


def _in_heads(channels: SpaceRecord) -> Space | None:
    """The values of attention that are fixed by nothing else; None where there are none."""
    if not channels.in_heads or channels.norms:
        return None
    rows = _distinct(channels.rows)
    rows = rows[~channels.fixed[rows].any(1)]  # of a packed projection, queries and keys are fixed
    if not rows.numel() or rows.unique().numel() != rows.numel():
        return None
    parts = {tuple(row.tolist()) for row in rows}
    for reader in channels.readers:
        if len(reader.columns) % rows.shape[1]:
            return None
        if any(tuple(part.tolist()) not in parts for part in reader.columns.view(-1, rows.shape[1])):
            return None
    return Space(tuple(channels.writers), tuple(channels.readers), {}, rows, in_heads=True)


def _distinct(rows: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(rows)).unique(dim=0) if len({r.shape[1] for r in rows}) == 1 else torch.empty(0, 0)
