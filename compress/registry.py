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


def made(what: str, name: str, known: Mapping[str, type[T]]) -> T:
    """One of the class of that name; a UsageError with the nearest name where there is none."""
    if name not in known:
        raise unknown(what, name, known)
    return known[name]()
