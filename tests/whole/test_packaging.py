"""Releases: the wheel holds every room whole, under one import name; the source release makes the same wheel."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

import compress

ROOT = Path(__file__).parents[2]
ROOMS = {"compress": "compress"} | {
    f"compress/{room}": room for room in ("benchmarks", "cli", "export", "passes", "profiles")
}
NO_DATA = {".py", ".pyc"}


def repository(*options: str) -> set[str]:
    """The files that git lists, those of hidden folders left out."""
    listed = subprocess.run(["git", "ls-files", "-z", *options], cwd=ROOT, check=True, capture_output=True, text=True)
    names = {name for name in listed.stdout.split("\0") if name and not name.startswith(".")}
    return {name for name in names if (ROOT / name).is_file()}


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to build from: setuptools leaves a build folder whose stale modules would end up in the next wheel."""
    copy = tmp_path_factory.mktemp("source")
    for name in repository("--cached", "--others", "--exclude-standard"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="session")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from the repository's files."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", out, source]
    subprocess.run(command, check=True, cwd=out)
    (file,) = out.glob("*.whl")
    assert file.name == f"compress_models-{compress.__version__}-py3-none-any.whl"
    return zipfile.ZipFile(file)


@pytest.fixture(scope="session")
def release(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a source release and the wheel that was built from it."""
    out = tmp_path_factory.mktemp("release")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source]
    subprocess.run(command, check=True, cwd=out, capture_output=True)
    return out


@pytest.mark.parametrize(("package", "folder"), ROOMS.items())
def test_every_module_of_every_room_is_inside(wheel: zipfile.ZipFile, package: str, folder: str) -> None:
    expected = {f"{package}/{path.relative_to(ROOT / folder).as_posix()}" for path in (ROOT / folder).rglob("*.py")}
    assert expected
    assert expected - set(wheel.namelist()) == set()


@pytest.mark.parametrize(("package", "folder"), ROOMS.items())
def test_every_data_file_of_every_room_is_inside(wheel: zipfile.ZipFile, package: str, folder: str) -> None:
    data = [path for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix not in NO_DATA]
    expected = {f"{package}/{path.relative_to(ROOT / folder).as_posix()}" for path in data}
    assert expected - set(wheel.namelist()) == set()


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


@pytest.mark.slow
def test_the_source_release_has_every_file(release: Path) -> None:
    (file,) = release.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in archive.getnames()}
    assert repository() - names == set(), "a line in MANIFEST.in adds what is missing"
    assert [name for name in names if "__pycache__" in name] == []


@pytest.mark.slow
def test_the_source_release_makes_the_same_wheel(wheel: zipfile.ZipFile, release: Path) -> None:
    (file,) = release.glob("*.whl")
    with zipfile.ZipFile(file) as again:
        assert {name: again.read(name) for name in again.namelist()} == {
            name: wheel.read(name) for name in wheel.namelist()
        }


@pytest.mark.slow
def test_the_wheel_installs_into_an_empty_environment(release: Path, tmp_path: Path) -> None:
    """Its dependencies are not downloaded again: they are looked up in this environment."""
    (file,) = release.glob("*.whl")
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", file]
    subprocess.run(install, check=True, cwd=tmp_path)
    (packages,) = environment.glob("lib/python*/site-packages")
    here = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "dependencies.pth").write_text("\n".join(here))

    def run(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    assert run(python, "-c", "import compress; print(compress.__file__)") == str(packages / "compress" / "__init__.py")
    assert run(environment / "bin" / "compress", "--version") == f"compress, version {compress.__version__}"
    listed = run(environment / "bin" / "compress", "passes")
    assert listed == run(Path(sys.executable).with_name("compress"), "passes")
    assert listed.startswith("bf16")


def test_python_m_compress_is_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "compress", "--help"]
    shown = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert shown.startswith("Usage: compress ")
    again = subprocess.run([Path(sys.executable).with_name("compress"), "--help"], capture_output=True, text=True)
    assert again.stdout == shown
