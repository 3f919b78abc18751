"""What the tests of the command line share."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.cli import few_rounds, run_cli

Completed = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module", autouse=True)
def _few_rounds() -> Iterator[None]:
    with few_rounds():
        yield


@pytest.fixture(scope="session")
def inside() -> Callable[..., Completed]:
    """The command in this process: ``inside("run", path, "-p", "int8")``."""
    return run_cli


@pytest.fixture(scope="session")
def variants(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the variants int8-fuse, fuse and fp16-fuse of a tiny model, unscored; not to be written to."""
    out = tmp_path_factory.mktemp("variants") / "out"
    done = run_cli(llama, "-p", "int8,fuse", "-p", "fuse", "-p", "fp16,fuse", "-o", out, "--no-score")
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="session")
def main_job(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Completed]:
    """One run of the main job on a tiny model, not to be written to: its folder ``out``, its text beside that."""
    folder = tmp_path_factory.mktemp("main-job")
    text = folder / "text.txt"
    text.write_text("the quick brown fox jumps over a lazy dog while seven wizards box daily " * 400)
    with few_rounds():
        done = run_cli(llama, "-p", "int8,fuse", "-p", "fuse", "-p", "fp16,fuse", "-o", folder / "out", "--eval", text)
    assert done.returncode == 0, done.stderr
    return folder / "out", done
