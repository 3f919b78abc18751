"""Scorecards of made-up figures."""

from __future__ import annotations

from typing import Any

from compress.benchmarks.results.contender import Applied, Role
from compress.benchmarks.results.scorecard import Cell, Row, Scorecard, Settings
from compress.benchmarks.statistics.estimators import mean
from compress.benchmarks.statistics.measure import Measure, summarize
from compress.modeling.kinds import KINDS

BASE = {"decode_tps": [10.0, 10.2, 9.8, 10.1, 9.9], "disk_bytes": 100e6, "retention": (1.0, 1.0, 1.0, 1.0)}
"""A baseline's figures."""
INT8 = {"decode_tps": [20.0, 20.6, 19.4, 20.3, 19.7], "disk_bytes": 30e6, "retention": (0.96, 0.97, 0.98, 0.99)}
"""Those of a variant that is twice as fast."""
TORCH = {"decode_tps": [10.0, 10.0, 10.4], "disk_bytes": 100e6, "perplexity": 17.756, "top1": 1.0, "retention": 1.0}
ONNX = {"decode_tps": [20.0, 20.0, 20.8], "disk_bytes": 100e6, "perplexity": 17.756, "top1": 1.0, "retention": 1.0}
QUANTIZED = {
    "decode_tps": [50.0, 50.0, 52.0],
    "disk_bytes": 27e6,
    "perplexity": 17.8,
    "top1": 0.981,
    "retention": 0.9975,
}
"""Figures of accuracy too: of the original, of the float export, and of a variant that is smaller and faster."""


def build_card(
    kind: str = "decoder",
    others: float = 0.0,
    unchanged: str = "",
    zeros: str = "",
    products: str = "",
    model: str = "tiny",
    text: str = "",
    processor: str = "a processor",
    digest: str = "",
    **rows: dict[Any, Any],
) -> Scorecard:
    """A card of made-up figures, ``build_card(name={metric: figure}, ...)``; the first two are the baselines.

    A list stands for launches of a round each, a tuple for windows. Figures under ``(length, batch)`` are those of a
    cell; ``errors`` are what each layer lost.
    """
    roles: list[Role] = ["original", "float"]
    row_list = [
        _row(name, figures, roles[i] if i < 2 else "variant", zeros=name == zeros, products=name == products,
             unchanged=name == unchanged)
        for i, (name, figures) in enumerate(rows.items())
    ]  # fmt: skip
    cells = [cell for row in row_list for cell in row.cells]
    lengths, batches = ({getattr(cell, field): None for cell in cells} for field in ("length", "batch"))
    return Scorecard(
        model=model,
        model_sha256=digest,
        kind=KINDS[kind],
        created="2026-01-01T00:00:00+00:00",
        command="compress tiny",
        settings=Settings(lengths=tuple(lengths), batches=tuple(batches)),
        threads=2,
        machine={"processor": processor},
        versions={"python": "3"},
        load=0.0,
        others=others,
        bandwidth=1e10,
        windows=(8, 512),
        text_sha256=text,
        rows=tuple(row_list),
    )


def _row(name: str, figures: dict[Any, Any], role: Role, **facts: bool) -> Row:
    return Row(
        name=name,
        path=name,
        engine="torch" if role == "original" else "ort-cpu",
        role=role,
        recipe=name,
        parameters=1000,
        passes=tuple(Applied(text, 2, text == "fuse") for text in name.split(",")) if role == "variant" else (),
        measures={key: _measure(value) for key, value in figures.items() if isinstance(key, str) and key != "errors"},
        cells=tuple(
            Cell(length=key[0], batch=key[1], measures={k: _measure(v) for k, v in value.items()})
            for key, value in figures.items()
            if isinstance(key, tuple)
        ),
        errors=figures.get("errors"),
        **facts,
    )


def _measure(figure: object) -> Measure:
    match figure:
        case list():
            return summarize([[value] for value in figure])
        case tuple():
            return mean(figure)
    return Measure(value=float(str(figure)))
