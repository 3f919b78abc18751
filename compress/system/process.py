"""Run another program, and report its failure in one line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence

from compress.errors import RunError


def python_command(module: str, *arguments: object) -> list[str]:
    """The command that runs a module in a fresh interpreter.

    The current folder stays off its path (``-P``): it may be a stranger's checkpoint, with a ``numpy.py`` in it.
    """
    return [sys.executable, "-P", "-m", module, *map(str, arguments)]


def run_process(
    command: Sequence[str], label: str, capture: bool = True, environment: Mapping[str, str] | None = None
) -> str:
    """Run a program to its end and return its standard output.

    With ``capture`` off the output goes where this process's goes, and the result is empty. ``environment`` takes the
    place of this process's variables. Raises RunError where the program fails: ``label`` names it there, with its exit
    status and the last line that it wrote to standard error.
    """
    stdout = subprocess.PIPE if capture else None
    process = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    if process.returncode:
        lines = process.stderr.strip().splitlines() or ["no reason given"]
        raise RunError(f"{label} ended with {process.returncode}: {lines[-1]}")
    return process.stdout or ""
