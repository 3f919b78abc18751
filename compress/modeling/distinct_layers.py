"""Distinct layers of a stack: those alike, of the same shapes and settings, are told apart by their numbers alone."""

from __future__ import annotations

from torch import nn

_INDEX = ("layer_idx", "layer_id", "layer_number")
"""Ends of the names of settings that hold a layer's number."""


def keep_distinct(layers: nn.ModuleList) -> list[int]:
    """Leave of a stack the first layer of each kind; returns for every layer where in it one like it is then."""
    signatures = [_signature(layer) for layer in layers]
    kinds = list(dict.fromkeys(signatures))
    distinct = [layers[signatures.index(kind)] for kind in kinds]
    del layers[:]
    layers.extend(distinct)
    return [kinds.index(signature) for signature in signatures]


def _signature(layer: nn.Module) -> tuple[object, ...]:
    """The classes, shapes and settings of a layer's modules; their numbers in the stack are none."""
    shapes = tuple((name, tuple(tensor.shape)) for name, tensor in layer.state_dict().items())
    settings = tuple(
        (path, type(child), name, value)
        for path, child in layer.named_modules()
        for name, value in vars(child).items()
        if isinstance(value, int | float | str | None) and not name.endswith(_INDEX)
    )
    return (shapes, *settings)
