"""Picture of one variant's errors, matrix by matrix, with the bits of each: `compress inspect --plot`."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.benchmarks.plots.base import new_figure, own_style, percent_over_layers
from compress.checkpoint.files.manifest import Manifest
from compress.checkpoint.files.summary import layers_of
from compress.errors import UsageError
from compress.escape import printable
from compress.system.output_file import check_output_file, write_output_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SUFFIXES = (".png", ".svg", ".pdf")
_MARKERS = {2: "v", 3: "^", 4: "o", 8: "s", 16: "P", 32: "D"}
_OTHER_MARKER = "h"


@dataclass(frozen=True)
class _Point:
    layer: int
    percent: float
    bits: int
    fell_back: bool


def plot_errors(manifest: Manifest, path: Path) -> str | None:
    """Draw the layers' relative squared errors, one line for each kind of matrix, into the file ``path``.

    They are those of the matrices' outputs; where no statistics were taken, those of the matrices themselves, and the
    notice to give is returned. Raises UsageError where the manifest knows neither, or the file can't be written.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"{path}: pictures are {', '.join(_SUFFIXES)}; give the file one of these suffixes")
    check_output_file(path)
    label, notice, lines = "output error", None, _lines(manifest, outputs=True)
    if not lines:
        label, lines = "weight error", _lines(manifest, outputs=False)
        notice = "no output errors are known, as no statistics were taken; the plot shows the weights' own"
    if not lines:
        raise UsageError(f"nothing to plot: {manifest.pipeline} reported no error of a layer's matrices")
    drawn = io.BytesIO()
    with own_style():
        figure = new_figure()
        axes = figure.subplots()
        _draw(axes, lines)
        axes.set_title(
            f"{printable(manifest.source.title)}\n{printable(manifest.pipeline)}",
            loc="left",
            fontsize="medium",
            parse_math=False,
        )
        axes.set_ylabel(f"relative squared {label}, %")
        figure.savefig(drawn, format=path.suffix[1:].lower())
    write_output_file(path, drawn.getvalue())
    return notice


def _lines(manifest: Manifest, outputs: bool) -> dict[str, list[_Point]]:
    """The points of every kind of matrix; an error of zero has no place on a logarithmic axis and is left out."""
    lines: dict[str, list[_Point]] = {}
    for layer in layers_of(manifest):
        if layer.index is None:
            continue
        for matrix in layer.matrices:
            report = matrix.report
            error = report and (report.error if outputs else report.weight_error)
            if report and error:
                point = _Point(layer.index, 100 * error, matrix.stored_bits, report.fell_back)
                lines.setdefault(matrix.local_name, []).append(point)
    return lines


def _draw(axes: Axes, lines: dict[str, list[_Point]]) -> None:
    """Draw a line for each kind of matrix, markers for their bits, a cross on every matrix that fell back.

    Only matrices of the same bits are joined: between two widths a line would leap over decades and hide the rest.
    """
    every = [point for points in lines.values() for point in points]
    widths = sorted({point.bits for point in every})
    for i, (local_name, points) in enumerate(lines.items()):
        for bits in widths:
            joined = [point for point in points if point.bits == bits]
            _plot(axes, joined, f"C{i}", marker=_marker(bits), markersize=4.5, linewidth=1.2)
        _plot(axes, [], f"C{i}", label=local_name)
    for bits in widths:
        _plot(axes, [], "grey", marker=_marker(bits), linestyle="", label=f"{bits} bits")
    if fallen := [point for point in every if point.fell_back]:
        _plot(axes, fallen, "black", marker="x", markersize=9, linestyle="", zorder=3, label="fell back")
    percent_over_layers(axes)
    axes.figure.legend(loc="outside right upper", frameon=False)


def _plot(axes: Axes, points: list[_Point], color: str, **style: Any) -> None:
    axes.plot([p.layer for p in points], [p.percent for p in points], color=color, **style)


def _marker(bits: int) -> str:
    return _MARKERS.get(bits, _OTHER_MARKER)
