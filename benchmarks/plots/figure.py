"""Draw a figure into bytes: text stays text, and the same figures give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Suffix = Literal["png", "svg"]

_SIZE = (9.0, 4.8)
"""inches"""
_DPI = 150


_LISTED, _LONGEST = 2, 36
"""names of one entry in a legend, and characters of one"""


def few(names: Sequence[str]) -> str:
    """Names as a legend has room for them: the first ones, each cut in its middle, and how many more there are."""
    half = _LONGEST // 2
    shown = [name if len(name) <= _LONGEST else f"{name[:half]}…{name[1 - half :]}" for name in names[:_LISTED]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


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
