"""Float graphs before lowering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import onnx_ir as ir

from compress.export.lowering.weights import Rows
from compress.modeling.architecture import Architecture

_NOT_IN_GRAPH = ("dtype", "torch_dtype", "_name_or_path", "transformers_version", "architectures")
"""Settings of a config that no graph depends on; the class is a part of the key by itself."""


@dataclass(frozen=True)
class FloatGraph:
    """A float graph, whose weights are initializers without values, and what of the checkpoint each of them holds."""

    model: ir.Model
    rows: WeightRows


@dataclass(frozen=True)
class GraphKey:
    """Cache key of a float graph that is kept for the next export: equal where class, config and names are.

    ``settings``: the class and its config, see `graph_settings`. ``names`` are the checkpoint's tensors.
    """

    settings: str
    names: tuple[str, ...]
    architecture: Architecture = field(compare=False)

    @classmethod
    def of(cls, architecture: Architecture, names: Sequence[str]) -> GraphKey:
        """The key of a model's graph."""
        return cls(graph_settings(architecture), tuple(names), architecture)


def graph_settings(architecture: Architecture) -> str:
    """A class and the settings of its config that a graph depends on."""
    config = architecture.config.to_dict()
    return f"{architecture.class_name} { {key: value for key, value in config.items() if key not in _NOT_IN_GRAPH} }"


WeightRows = Mapping[str, Rows]
"""Rows of the checkpoint's tensors that each weight of a graph holds, by the weight's name in the graph."""


GraphSource = Literal["auto", "built", "traced"]
