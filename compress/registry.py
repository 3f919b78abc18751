"""Registry helpers: import a package so that its classes register themselves."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from types import ModuleType
from typing import TypeVar

from compress.errors import unknown

T = TypeVar("T")


def import_all(room: ModuleType) -> None:
    """Import every module of a room, not of its sub-rooms."""
    for module in pkgutil.iter_modules(room.__path__):
        if not module.ispkg:
            importlib.import_module(f"{room.__name__}.{module.name}")


def create(category: str, name: str, classes: Mapping[str, type[T]]) -> T:
    """An instance of the class of that name; a UsageError with the nearest name where there is none.

    ``category`` is what the classes are, for the error's text ("target", "format").
    """
    if name not in classes:
        raise unknown(category, name, classes)
    return classes[name]()
