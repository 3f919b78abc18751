"""Figure size, axes over layers, legends, and rendering to bytes, shared by all pictures."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from compress.benchmarks.results.scorecard import Scorecard
from compress.checkpoint.demo.model import cache_directory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Suffix = Literal["png", "svg"]
Draw = Callable[[Sequence[Scorecard], Suffix], bytes | None]
"""Draws a picture of runs; None where nothing was measured for it."""

_SIZE = (9.0, 4.8)
"""inches"""
_DPI = 150
_LEGEND = 32
"""characters of a legend's line"""
_CAPTION = 130
"""characters of a caption's line"""
_LISTED, _LONGEST = 2, 36
"""names of one entry in a legend, and characters of one"""


def few(names: Sequence[str]) -> str:
    """Abbreviate names for a legend: the first ones, each cut in its middle, and how many more there are."""
    half = _LONGEST // 2
    shown = [name if len(name) <= _LONGEST else f"{name[:half]}…{name[1 - half :]}" for name in names[:_LISTED]]
    more = len(names) - len(shown)
    listed = ", ".join(shown) + (f" and {more} more" if more else "")
    return f" {listed}" if listed.startswith("_") else listed  # matplotlib leaves what begins so out of a legend


@contextmanager
def own_style() -> Iterator[None]:
    """Within, matplotlib's own style: a ``matplotlibrc`` of the current folder has no say.

    It could have LaTeX run on every title.
    """
    _prepare_cache()
    from matplotlib import rc_context, rcdefaults

    with rc_context():
        rcdefaults()
        yield


def _prepare_cache() -> None:
    """Have matplotlib, before it loads, keep its list of fonts in this program's cache.

    Where that can't be written, matplotlib makes a temporary one, which no user needs to hear of.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    folder = cache_directory() / "matplotlib"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    if os.access(folder, os.W_OK):
        os.environ.setdefault("MPLCONFIGDIR", str(folder))


def new_figure() -> Figure:
    """New figure of the size that all pictures have."""
    from matplotlib.figure import Figure  # not pyplot, which would look for a display

    return Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")


def percent_over_layers(axes: Axes) -> None:
    """Label axes for percent, logarithmic, over the numbers of layers."""
    from matplotlib.ticker import LogLocator, MaxNLocator, StrMethodFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    axes.yaxis.set_minor_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("layer")
    axes.grid(alpha=0.3)


def add_legend(figure: Figure) -> None:
    """Add a legend beside the axes, whose names are plain text: a ``$`` in one is no formula."""
    for text in figure.legend(loc="outside right upper", frameon=False, fontsize="small").get_texts():
        text.set_parse_math(False)
        text.set_text(textwrap.fill(text.get_text(), _LEGEND))


def add_caption(figure: Figure, text: str) -> None:
    """Add a caption below all axes, so that the picture alone says what it shows."""
    lines = "\n".join(textwrap.wrap(text, _CAPTION))
    figure.supxlabel(lines, fontsize="small", x=0.02, horizontalalignment="left", color="#444", parse_math=False)


def picture(name: str, suffix: Suffix, fill: Callable[[Figure], None]) -> bytes:
    """Draw what ``fill`` draws into an empty figure, as bytes: text stays text, the same figures give the same bytes.

    ``name`` keeps the identifiers inside apart from other pictures'.
    """
    from matplotlib import rc_context

    with own_style(), rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # emoji in a name: boxes are shown for them
        figure = new_figure()
        fill(figure)
        drawn = io.BytesIO()
        figure.savefig(drawn, format=suffix, metadata={"Date": None} if suffix == "svg" else None)
    return drawn.getvalue()
