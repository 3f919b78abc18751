"""The scripts in ``examples/`` run as they are, on a tiny model."""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import few_rounds

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, *args: object) -> subprocess.CompletedProcess[str]:
    """An example in a process of its own, as its reader runs it."""
    command = [sys.executable, "-P", str(EXAMPLES / name), *map(str, args)]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}, check=False
    )


def run_here(name: str, *args: object) -> subprocess.CompletedProcess[str]:
    """An example that measures, as the main module of this process: with few rounds of speed."""
    out, code = io.StringIO(), 0
    with few_rounds(), pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(sys, "argv", [name, *map(str, args)])
        try:
            runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        except SystemExit as exit_:
            code = int(exit_.code or 0)
    return subprocess.CompletedProcess(args, code, out.getvalue(), "")


def test_every_example_is_short() -> None:
    lengths = {file.name: len(file.read_text().splitlines()) for file in EXAMPLES.glob("*.py")}
    assert sorted(lengths) == ["compress_and_score.py", "custom_pass.py", "gate_in_ci.py"]
    assert max(lengths.values()) <= 55


@pytest.mark.slow
def test_compress_and_score(bert: Path, tmp_path: Path) -> None:
    done = run_here("compress_and_score.py", bert, tmp_path)
    assert done.returncode == 0
    size, torch_row, float_row, variant_row = done.stdout.splitlines()
    assert size.endswith(f"MB in {tmp_path / 'int8-fuse' / 'onnx'}")
    assert torch_row.startswith("torch: ") and torch_row.endswith("retention 1.0000")
    assert float_row.startswith("onnx float: ")
    assert variant_row.startswith("int8-fuse: ")
    assert {"report.json", "report.md", "report.html"} <= {file.name for file in tmp_path.iterdir()}
    assert "## Measured" in (tmp_path / "int8-fuse" / "README.md").read_text()


@pytest.mark.slow
def test_custom_pass(bert: Path, tmp_path: Path) -> None:
    done = run("custom_pass.py", bert, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    zeros = float(done.stdout.split(", ")[1].split(" %")[0])
    assert 30.0 <= zeros < 35.0
    assert (tmp_path / "out" / "compress.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(("requirements", "code"), [("bytes<=0.99x", 0), ("bytes<=0.01x", 1)])
def test_gate_in_ci(bert: Path, tmp_path: Path, requirements: str, code: int) -> None:
    done = run_here("gate_in_ci.py", bert, tmp_path, requirements)
    assert done.returncode == code
    assert done.stdout.startswith(f"{'passed' if code == 0 else 'failed'}: int8-fuse: {requirements}: ")
