"""Picture ``error-layer``: the error of every layer, all variants of a report together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compress.benchmarks.plots.base import Draw, Suffix, add_caption, add_legend, few, percent_over_layers, picture
from compress.benchmarks.results.layer_errors import LayerErrors
from compress.benchmarks.results.overview import run_prefixes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from compress.benchmarks.results.scorecard import Scorecard

_NAME = "error-layer"
_STYLES = {"outputs": "-", "weights": "--"}
_NAMED = 12
"""variants that the legend has room for"""


def _draw(cards: Sequence[Scorecard], suffix: Suffix) -> bytes | None:
    """Draw every variant's errors over its layers; None where no variant has any."""
    alike: dict[LayerErrors, list[str]] = {}  # the same integers in other graphs are one line
    for prefix, card in zip(run_prefixes(cards), cards, strict=True):
        for row in card.rows:
            if row.errors is not None:
                alike.setdefault(row.errors, []).append(prefix + row.name)
    if not alike:
        return None

    def fill(figure: Figure) -> None:
        axes = figure.subplots()
        for i, (errors, names) in enumerate(alike.items()):
            label = few(names) + (" (its weights)" if errors.of == "weights" else "")
            axes.plot(
                errors.layers,
                [100 * error for error in errors.errors],
                color=f"C{i}",
                linestyle=_STYLES[errors.of],
                marker="o",
                markersize=4,
                linewidth=1.2,
                label=label if i < _NAMED else None,
            )
        percent_over_layers(axes)
        axes.set_ylabel("relative squared output error of the worst matrix, %")
        add_legend(figure)
        add_caption(
            figure,
            "Error of each layer's matrices on the calibration text: ‖(W − Ŵ)X‖² / ‖WX‖² of the worst one; dashed, for "
            "want of a text, ‖W − Ŵ‖² / ‖W‖². Variants of the same integers are one line.",
        )

    return picture(_NAME, suffix, fill)


PICTURES: dict[str, Draw] = {_NAME: _draw}
