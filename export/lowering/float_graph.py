"""Float graphs before lowering."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from compress.export.lowering.weights import Rows


@dataclass(frozen=True)
class FloatGraph:
    """A float graph, whose weights are initializers without values, and what of the checkpoint each of them holds."""

    model: ir.Model
    rows: WeightRows


WeightRows = Mapping[str, Rows]
"""What each weight of a graph holds, by the graph's name of it."""


GraphSource = Literal["auto", "built", "traced"]
