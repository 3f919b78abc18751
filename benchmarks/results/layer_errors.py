"""Largest matrix error of each layer, from a variant's manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from compress.checkpoint.files.manifest import Manifest
from compress.checkpoint.files.summary import LayerSummary, layers_of


@dataclass(frozen=True)
class LayerErrors:
    """The relative squared error of each layer's worst matrix, by the layer's number.

    It is that of its outputs on the calibration text, or of its ``weights`` where nothing else is known.
    """

    of: Literal["outputs", "weights"]
    layers: tuple[int, ...]
    errors: tuple[float, ...]


def layer_errors(manifest: Manifest) -> LayerErrors | None:
    """Errors of a manifest's layers; None where no pass reported any but zero."""
    layers = [layer for layer in layers_of(manifest) if layer.index is not None]
    return _worst_errors(layers, "outputs") or _worst_errors(layers, "weights")


def _worst_errors(layers: Sequence[LayerSummary], of: Literal["outputs", "weights"]) -> LayerErrors | None:
    worst_of: list[tuple[int, float]] = []
    for layer in layers:
        reports = [matrix.report for matrix in layer.matrices if matrix.report is not None]
        errors = [report.error if of == "outputs" else report.weight_error for report in reports]
        if worst := max(filter(None, errors), default=None):
            worst_of.append((layer.index or 0, worst))
    if not worst_of:
        return None
    numbers, errors_found = zip(*worst_of, strict=True)
    return LayerErrors(of, numbers, errors_found)
