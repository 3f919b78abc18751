"""The wheel holds every room whole, under one import name."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

import compress

ROOT = Path(__file__).parents[2]
ROOMS = {"compress": "compress"} | {
    f"compress/{room}": room for room in ("benchmarks", "cli", "export", "passes", "profiles")
}
NO_DATA = {".py", ".pyc"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from a copy: setuptools leaves a build folder whose stale modules would end up in the next wheel."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in ROOMS.values():
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", out, source]
    subprocess.run(command, check=True, cwd=out)
    (file,) = out.glob("*.whl")
    assert file.name == f"compress_models-{compress.__version__}-py3-none-any.whl"
    return zipfile.ZipFile(file)


@pytest.mark.parametrize(("package", "folder"), ROOMS.items())
def test_every_module_of_every_room_is_inside(wheel: zipfile.ZipFile, package: str, folder: str) -> None:
    wanted = {f"{package}/{path.relative_to(ROOT / folder).as_posix()}" for path in (ROOT / folder).rglob("*.py")}
    assert wanted
    assert wanted - set(wheel.namelist()) == set()


@pytest.mark.parametrize(("package", "folder"), ROOMS.items())
def test_every_data_file_of_every_room_is_inside(wheel: zipfile.ZipFile, package: str, folder: str) -> None:
    data = [path for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix not in NO_DATA]
    wanted = {f"{package}/{path.relative_to(ROOT / folder).as_posix()}" for path in data}
    assert wanted - set(wheel.namelist()) == set()


def test_compress_is_the_only_top_level_name(wheel: zipfile.ZipFile) -> None:
    tops = {PurePosixPath(name).parts[0] for name in wheel.namelist()}
    assert tops == {"compress", f"compress_models-{compress.__version__}.dist-info"}
    packages = {str(PurePosixPath(name).parent) for name in wheel.namelist() if name.endswith("__init__.py")}
    modules = {(package, path) for package, folder in ROOMS.items() for path in (ROOT / folder).rglob("*.py")}
    assert packages == {
        str(PurePosixPath(package) / path.relative_to(ROOT / ROOMS[package]).parent.as_posix())
        for package, path in modules
    }


def test_the_wheel_brings_its_command_and_its_passes(wheel: zipfile.ZipFile) -> None:
    entries = wheel.read(f"compress_models-{compress.__version__}.dist-info/entry_points.txt").decode()
    assert "compress = compress.cli.main:main" in entries
    assert "[compress.passes]\nbuiltin = compress.passes" in entries


def test_the_wheel_works_without_the_repository(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    site = tmp_path / "site"
    wheel.extractall(site)
    code = f"import sys; sys.path.insert(0, {str(site)!r}); "
    code += (
        "import compress.passes.int8 as i, compress.profiles.loader as p; print(i.__file__, p.__file__, *p.profiles())"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    room = site / "compress"
    assert done.stdout.split() == [str(room / "passes" / "int8.py"), str(room / "profiles" / "loader.py"), "cpu"]


def test_python_m_compress_is_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "compress", "--help"]
    shown = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert shown.startswith("Usage: compress ")
    again = subprocess.run([Path(sys.executable).with_name("compress"), "--help"], capture_output=True, text=True)
    assert again.stdout == shown
