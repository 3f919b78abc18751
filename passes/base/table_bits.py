"""Bits of the embedding and the output head where a pipeline leaves them open: by what a byte costs there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from compress.checkpoint.base import ModelOutline

Table = Literal["head", "embed"]
"""The option that a head or an embedding goes by."""
TableForm = Literal["auto", "float", "int8", "int6", "int4", "int3"]
"""How a head or an embedding is stored; auto: int8, unless `narrow_shares` names it."""

EXACT_BITS = 8
"""Bits of a table whose rounding costs next to nothing."""
_WORTHWHILE = 1 << 20
"""Weights of a table below which there is nothing to gain."""


def table_bits(form: TableForm) -> int | None:
    """Bits of a head or an embedding; None where it stays float."""
    return {"auto": 8, "float": None, "int8": 8, "int6": 6, "int4": 4, "int3": 3}[form]


def narrow_shares(model: ModelOutline, bits: float, solved: bool) -> dict[Table, float]:
    """The tables that are to have 4 bits as well, beside layers of ``bits``, and their shares of the matrices' weights.

    A tied one goes as the head. ``solved``: heads are solved on what they read, and not just rounded.

    Of an embedding, a byte costs less than of the layers: in 4 bits that of all-MiniLM-L6-v2, half of the weights, a
    fifth of what the layers' 4 bits cost, and SmolLM2-135M's, a fifth of the weights, if it weren't the head too, 1.6 %
    of perplexity where the layers cost 8 %. As a head, it costs 3 %: as much a byte as the layers where it holds a
    third of the weights. Layers of 3 bits lose so much more that there it is an eighth.
    """
    return {} if bits > 4 else dict(_narrow_shares(model, 1 / 3 if bits > 3 else 1 / 8, solved))


def _narrow_shares(model: ModelOutline, head_share: float, solved: bool) -> Iterator[tuple[Table, float]]:
    outline = model.architecture.outline
    total = sum(math.prod(model.shape(name)) for name in model.matrices)
    if outline.head is not None and solved and model.kind.generates_text:
        size = math.prod(model.shape(outline.head))
        if size >= max(_WORTHWHILE, head_share * total):
            yield "head", size / total
    if outline.embedding is not None and not model.tied:
        size = math.prod(model.shape(outline.embedding))
        if size >= _WORTHWHILE:
            yield "embed", size / total
