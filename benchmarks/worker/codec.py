"""Encode and decode dataclasses as JSON values by the types of their fields; arrays and tuples are lists."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from compress.errors import RunError

A = TypeVar("A")


def to_plain(message: object) -> dict[str, object]:
    """Encode a dataclass's fields as JSON values."""
    return {field.name: _plain(getattr(message, field.name)) for field in fields(message)}  # type: ignore[arg-type]


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return to_plain(value) if is_dataclass(value) else value


@cache
def _types(cls: type) -> dict[str, object]:
    """The type of each field."""
    return get_type_hints(cls)


def from_plain(cls: type[A], values: dict[str, object], role: str) -> A:
    """Decode a dataclass from JSON values, the inverse of `to_plain`.

    Raises RunError, which names the ``role`` and the class, where a field is missing, unknown or of another type.
    """
    types = _types(cls)  # type: ignore[arg-type]  # a class is hashable
    required = [field.name for field in fields(cls) if field.default is MISSING]  # type: ignore[arg-type]
    if unknown := values.keys() - types.keys():
        raise RunError(f"the {role} {cls.__name__} has no field {min(unknown)}")
    if missing := [name for name in required if name not in values]:
        raise RunError(f"the {role} {cls.__name__} lacks {' and '.join(missing)}")
    try:
        return cls(**{name: _typed(types[name], value, name) for name, value in values.items()})
    except TypeError as error:
        raise RunError(f"the {role} {cls.__name__}: {error}") from error


def _typed(annotation: object, value: object, name: str) -> object:
    """Decode a value of a field's type; a TypeError where it has another."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is UnionType:
        (inner,) = (part for part in parts if part is not NoneType)
        return None if value is None else _typed(inner, value, name)
    if origin is np.ndarray:
        return _array(get_args(parts[1])[0], value, name)
    if is_dataclass(annotation) and isinstance(annotation, type) and isinstance(value, dict):
        return from_plain(annotation, value, "field")
    if origin is list and isinstance(value, list):
        return [_typed(parts[0], item, name) for item in value]
    if origin is tuple and isinstance(value, list):
        return tuple(_typed(parts[0], item, name) for item in value)
    if origin is dict and isinstance(value, dict):
        return {key: _typed(parts[1], item, name) for key, item in value.items()}
    if annotation is float and type(value) is int:
        return float(value)
    if type(value) is annotation:
        return value
    raise TypeError(f"{name} can't be {str(value)[:40]!r}")


def _array(dtype: type[np.generic], value: object, name: str) -> NDArray[np.generic]:
    """Decode a list of numbers as an array."""
    try:
        array = np.array(value)
    except ValueError as error:
        raise TypeError(f"{name} has rows of different lengths") from error
    if array.size and not np.can_cast(array.dtype, dtype, "same_kind"):
        raise TypeError(f"{name} has elements of type {array.dtype}, not {dtype.__name__}")
    return array.astype(dtype)
