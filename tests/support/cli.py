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
from compress.cli import console
from compress.cli.main import main
from compress.system import interrupt

ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "COLUMNS": "160"}


def run_cli(*args: object) -> subprocess.CompletedProcess[str]:
    """``compress ARGS`` in this process, which is quicker than one of its own: exit code, output, errors."""
    out, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["compress", *map(str, args)])
        patch.setattr(console, "_SECONDS_WITHOUT_LINE", 600.0)  # what is slow on a busy machine is no difference
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors), pytest.raises(SystemExit) as exit_:
            main()
    interrupt.listen()  # the command is at its end, where it ignores Ctrl-C; the tests are not
    return subprocess.CompletedProcess(args, exit_.value.code, out.getvalue(), errors.getvalue())


@contextlib.contextmanager
def few_rounds(windows: int | None = None) -> Iterator[None]:
    """One launch with two short rounds of speed where a user gets several, for tests that assert no speed.

    ``windows``: also, no more than so many are read for accuracy, and short ones, for tests that assert none.
    """
    with pytest.MonkeyPatch.context() as patch:
        for kind, plan in PLANS.items():
            count, length = plan.evaluation_windows
            evaluation = (count, length) if windows is None else (min(count, windows), min(length, 128))
            quick = replace(plan, launches=1, rounds=2, patience=0.0, evaluation_windows=evaluation, most_windows=0)
            patch.setitem(PLANS, kind, quick)
        patch.setattr(turns, "_TURN", 0.0)
        patch.setattr(bandwidth, "_LEAST", 1 << 22)
        patch.setattr(bandwidth, "_MOST", 1 << 22)
        yield


def install_quick_command(folder: Path) -> None:
    """Put a ``compress`` into a folder that measures as `few_rounds` says, for shell scripts with it on their path."""
    script = folder / "compress"
    root = Path(__file__).parents[2]
    script.write_text(
        f"#!{sys.executable} -P\n"
        f"import sys\n\nsys.path.append({str(root)!r})\n"
        "from tests.support.cli import few_rounds, main\n\n"
        "with few_rounds():\n    main()\n"
    )
    script.chmod(0o755)


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
