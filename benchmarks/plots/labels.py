"""Labels beside points that overlap neither each other nor a point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from compress.benchmarks.plots.base import few

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox
    from numpy.typing import NDArray

_SAME = 5.0
"""points of 1/72 inch within which two marks look like one, whose names share a label"""
_DISTANCES = (5, 12, 22, 34, 48, 64, 90)
"""points of 1/72 inch from a mark to its label, the nearest first"""
_SIDES = ((1, -1), (1, 1), (-1, 1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0))
"""where a label may be, to the right and upwards of its mark, the first that is free"""
_LED = 20
"""distance from which a line leads from the mark to its label"""


@dataclass(frozen=True)
class Place:
    """A mark's names, and where it is, in figures of the axes."""

    names: tuple[str, ...]
    x: float
    y: float


def label_points(figure: Figure, axes: Axes, points: Sequence[tuple[str, float, float]]) -> list[Place]:
    """Label points by their names, each where nothing else is; marks at one place share a label.

    Call it last, when all else is drawn: it lays the figure out to see what is where. Returns the places that there is
    no room to label.
    """
    figure.draw_without_rendering()
    places = merged(axes, points)
    scale = figure.dpi / 72
    occupied = [_around(axes.transData.transform((x, y)), _SAME * scale / 2) for _, x, y in points]
    return [place for place in places if not _label(axes, place, occupied)]


def merged(axes: Axes, points: Sequence[tuple[str, float, float]]) -> list[Place]:
    """Points that look like one as one place with all of their names, each once."""
    reach = _SAME * axes.figure.dpi / 72
    groups: list[tuple[list[str], float, float]] = []
    for name, x, y in points:
        at = axes.transData.transform((x, y))
        group = next((g for g in groups if abs(axes.transData.transform(g[1:]) - at).max() <= reach), None)
        if group is None:
            groups.append(([name], x, y))
        elif name not in group[0]:
            group[0].append(name)
    return [Place(tuple(names), x, y) for names, x, y in groups]


def _label(axes: Axes, place: Place, occupied: list[Bbox]) -> bool:
    """Label a place where nothing is that is ``occupied`` already, and add it to that; False where there is no room."""
    from matplotlib.text import Text

    for label in _candidates(axes, place):
        label.get_window_extent()  # puts it into its place; what it returns has the line in it, too
        box = Text.get_window_extent(label).padded(1)
        if not any(box.overlaps(other) for other in occupied) and _inside(box, axes.bbox):
            occupied.append(box)
            return True
        label.remove()
    return False


def _candidates(axes: Axes, place: Place) -> Iterator[Annotation]:
    """The label at every side and distance, the nearest first."""
    for distance, (right, up) in product(_DISTANCES, _SIDES):
        yield axes.annotate(
            few(place.names),
            (place.x, place.y),
            xytext=(right * distance, up * distance),
            textcoords="offset points",
            horizontalalignment="left" if right > 0 else "right" if right < 0 else "center",
            verticalalignment="bottom" if up > 0 else "top" if up < 0 else "center",
            fontsize="x-small",
            parse_math=False,
            arrowprops={"arrowstyle": "-", "color": "grey", "linewidth": 0.5} if distance >= _LED else None,
        )


def _around(center: NDArray[np.float64], radius: float) -> Bbox:
    from matplotlib.transforms import Bbox

    x, y = center
    return Bbox.from_extents(x - radius, y - radius, x + radius, y + radius)


def _inside(box: Bbox, outer: Bbox) -> bool:
    return bool(outer.x0 <= box.x0 and outer.y0 <= box.y0 and box.x1 <= outer.x1 and box.y1 <= outer.y1)
