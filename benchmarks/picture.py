"""How every picture of a report is drawn: text stays text, and the same figures give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Suffix = Literal["png", "svg"]

_SIZE = (9.0, 4.8)
"""inches"""
_DPI = 150


def picture(name: str, suffix: Suffix, fill: Callable[[Figure], None]) -> bytes:
    """What ``fill`` draws into an empty figure; ``name`` keeps the identifiers inside apart from other pictures'."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure  # not pyplot, which would look for a display

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
        fill(figure)
        drawn = io.BytesIO()
        figure.savefig(drawn, format=suffix, metadata={"Date": None} if suffix == "svg" else None)
    return drawn.getvalue()
