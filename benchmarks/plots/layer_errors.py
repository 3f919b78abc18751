"""What each layer of a variant lost, for a report: its worst matrix, and all variants in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from compress.benchmarks.plots.figure import Suffix, few, picture
from compress.benchmarks.plots.matrix_errors import percent_over_layers
from compress.checkpoint.manifest import Manifest
from compress.checkpoint.summary import Layer, layers_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from compress.benchmarks.results.scorecard import Scorecard

NAME = "error-layer"
_STYLES = {"outputs": "-", "weights": "--"}
_NAMED = 12
"""variants that the legend has room for"""


@dataclass(frozen=True)
class LayerErrors:
    """The relative squared error of each layer's worst matrix, by the layer's number.

    It is that of its outputs on the calibration text, or of its ``weights`` where nothing else is known.
    """

    of: Literal["outputs", "weights"]
    layers: tuple[int, ...]
    errors: tuple[float, ...]


def layer_errors(manifest: Manifest) -> LayerErrors | None:
    """What a manifest knows of its layers' errors; None where no pass reported any but zero."""
    layers = [layer for layer in layers_of(manifest) if layer.index is not None]
    return _known(layers, "outputs") or _known(layers, "weights")


def _known(layers: Sequence[Layer], of: Literal["outputs", "weights"]) -> LayerErrors | None:
    found: list[tuple[int, float]] = []
    for layer in layers:
        reports = [matrix.report for matrix in layer.matrices if matrix.report is not None]
        errors = [each.error if of == "outputs" else each.weight_error for each in reports]
        if worst := max(filter(None, errors), default=None):
            found.append((layer.index or 0, worst))
    if not found:
        return None
    numbers, errors_found = zip(*found, strict=True)
    return LayerErrors(of, numbers, errors_found)


def draw_errors(cards: Sequence[Scorecard], suffix: Suffix) -> bytes | None:
    """Every variant's errors over its layers; None where no variant knows any."""
    alike: dict[LayerErrors, list[str]] = {}  # the same integers in other graphs are one line
    for card in cards:
        for row in card.rows:
            if row.errors is not None:
                alike.setdefault(row.errors, []).append(row.name if len(cards) == 1 else f"{card.model}: {row.name}")
    if not alike:
        return None

    def fill(figure: Figure) -> None:
        axes = figure.subplots()
        for i, (known, names) in enumerate(alike.items()):
            label = few(names) + (" (its weights)" if known.of == "weights" else "")
            axes.plot(
                known.layers, [100 * error for error in known.errors], color=f"C{i}", linestyle=_STYLES[known.of],
                marker="o", markersize=4, linewidth=1.2, label=label if i < _NAMED else None,
            )  # fmt: skip
        percent_over_layers(axes)
        axes.set_ylabel("relative squared output error of the worst matrix, %")
        for text in figure.legend(loc="outside right upper", frameon=False, fontsize="small").get_texts():
            text.set_parse_math(False)

    return picture(NAME, suffix, fill)
