"""Libraries that are imported when they are first used, so that a mistake on the command line is told at once."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil as psutil
    import torch as torch
else:

    class _Library(ModuleType):
        """A module that is imported when an attribute of it is first asked for."""

        def __getattr__(self, name):
            value = self.__dict__[name] = getattr(import_module(self.__name__), name)
            return value

    psutil, torch = _Library("psutil"), _Library("torch")
