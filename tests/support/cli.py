"""The command line, run in the process of the tests."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from compress.benchmarks.measure import bandwidth, turns
from compress.benchmarks.results.kinds import PLANS
from compress.cli.main import main

ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "COLUMNS": "160"}


def run_cli(*args: object) -> subprocess.CompletedProcess[str]:
    """``compress ARGS`` in this process, which is quicker than one of its own: exit code, output, errors."""
    out, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["compress", *map(str, args)])
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors), pytest.raises(SystemExit) as exit_:
            main()
    return subprocess.CompletedProcess(args, exit_.value.code, out.getvalue(), errors.getvalue())


@contextlib.contextmanager
def few_rounds() -> Iterator[None]:
    """Two short rounds of speed where a user gets up to thirty, for tests that assert no speed."""
    with pytest.MonkeyPatch.context() as patch:
        for kind, plan in PLANS.items():
            patch.setitem(PLANS, kind, replace(plan, rounds=2, extra_rounds=0))
        patch.setattr(turns, "_TURN", 0.0)
        patch.setattr(bandwidth, "_LEAST", 1 << 22)
        patch.setattr(bandwidth, "_MOST", 1 << 22)
        yield


def run_card_examples(variant: Path) -> list[str]:
    """What each Python example of a model card prints, run in the card's folder as its reader would."""
    outputs, origin = [], Path.cwd()
    for block in re.findall(r"^```python\n(.*?)^```$", (variant / "README.md").read_text(), re.M | re.S):
        out = io.StringIO()
        os.chdir(variant)
        try:
            with contextlib.redirect_stdout(out):
                exec(block, {})
        finally:
            os.chdir(origin)
        outputs.append(out.getvalue())
    return outputs
