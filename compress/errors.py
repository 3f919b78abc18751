"""Exceptions that end the program, each with its exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CompressError(Exception):
    """A failure told in one line: what is wrong, where, and what to do next."""

    exit_code = 4


class RequirementError(CompressError):
    """A requirement was not met (exit 1)."""

    exit_code = 1


class UsageError(CompressError):
    """The command line or the pipeline is wrong (exit 2)."""

    exit_code = 2


class ModelError(CompressError):
    """The model can't be read or isn't safe to read (exit 3)."""

    exit_code = 3


class PassError(CompressError):
    """A pass broke its contract or could not do its work (exit 4)."""


class ExportError(CompressError):
    """An artifact could not be built, or it is not the model's equal (exit 4)."""


class RunError(CompressError):
    """An artifact could not be run or measured (exit 4)."""


class MissingComponentError(CompressError):
    """A component is missing; the message names what brings it (exit 5)."""

    exit_code = 5


def unknown(category: str, name: str, names: Iterable[str]) -> UsageError:
    """The error for a name that isn't among ``names``: it offers the nearest one, or lists them all.

    ``category`` is what they are names of, as in "unknown profile 'gpu'".
    """
    names = sorted(names)
    lowered = {valid.lower(): valid for valid in names}
    closest = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    hint = f"did you mean {lowered[closest[0]]!r}?" if closest else f"known: {', '.join(names)}"
    return UsageError(f"unknown {category} {name!r}; {hint}")
