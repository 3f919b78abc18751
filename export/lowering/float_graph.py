"""Float graphs before lowering."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

import onnx_ir as ir
from transformers import PretrainedConfig

from compress.export.lowering.weights import Rows

Source = TypeVar("Source")
_NOT_IN_GRAPH = ("dtype", "torch_dtype", "_name_or_path", "transformers_version", "architectures")
"""Settings of a config that no graph depends on; the class is a part of the key by itself."""


@dataclass(frozen=True)
class FloatGraph:
    """A float graph, whose weights are initializers without values, and what of the checkpoint each of them holds."""

    model: ir.Model
    rows: WeightRows


@dataclass(frozen=True)
class GraphKey(Generic[Source]):
    """Cache key of a float graph that is kept for the next export: equal where class, config and names are.

    ``settings``: the class and its config, see `graph_settings`. ``names`` are the checkpoint's tensors. ``fused``:
    whether operators are fused, where that changes what is kept. ``source`` is what the graph is made of.
    """

    settings: str
    names: tuple[str, ...]
    fused: bool
    source: Source = field(compare=False)


def graph_settings(class_name: str, config: PretrainedConfig) -> str:
    """A class and the settings of its config that a graph depends on."""
    settings = {key: value for key, value in config.to_dict().items() if key not in _NOT_IN_GRAPH}
    return f"{class_name} {settings}"


WeightRows = Mapping[str, Rows]
"""Rows of the checkpoint's tensors that each weight of a graph holds, by the weight's name in the graph."""


GraphSource = Literal["auto", "built", "traced"]
