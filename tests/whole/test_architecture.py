"""Rooms: what each may import, no circles, and files named after the words that a user types."""

from __future__ import annotations

import ast
from collections.abc import Hashable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest

from compress.benchmarks.report.base import formats
from compress.benchmarks.report.plots import PICTURES
from compress.benchmarks.runtime.specs import ENGINES
from compress.cli.main import commands
from compress.export.targets.base import targets
from compress.pipeline.contract import passes

Node = TypeVar("Node", bound=Hashable)
ROOT = Path(__file__).parents[2]
ROOMS = ("benchmarks", "cli", "compress", "export", "passes", "profiles")
FACE = {"compress", "compress.__main__", "compress.export"}
"""The package itself opens every room lazily, ``python -m compress`` runs the command line, and ``compress.export``
can be called."""
API = "compress/api"
"""The functions behind the face, a room of its own: they work in every room, and the command line calls them too."""
MAY_IMPORT = {
    "compress": {"compress"},
    "passes": {"compress", "passes"},
    "export": {"compress", "export"},
    "profiles": {"compress", "profiles", "export"},
    "benchmarks": {"compress", "export", "benchmarks"},
    API: {"compress", "export", "benchmarks", API},
    "cli": {"compress", "passes", "export", "profiles", "benchmarks", API, "cli"},
}


def module_name(file: Path) -> str:
    """The dotted name that a file of the repository is imported by."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "compress" else ("compress", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    """Every module of every room by its dotted name."""
    return {module_name(file): file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))}


def imported(file: Path) -> Iterator[str]:
    """Our own modules that a file imports anywhere: lazily and for type checkers as well."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules())
        elif isinstance(node, ast.ImportFrom) and node.module in modules():
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in modules() else node.module for name in inside)


@cache
def imports() -> dict[str, set[str]]:
    """What each module imports, itself left out."""
    return {name: set(imported(file)) - {name} for name, file in modules().items() if name not in FACE}


def circles(graph: Mapping[Node, Iterable[Node]]) -> list[set[Node]]:
    """Sets of nodes that reach each other: what is left once leaves are taken off, again and again, from both ends."""
    remaining = {node: {other for other in others if other != node} for node, others in graph.items()}
    while True:
        reached = set().union(*remaining.values()) if remaining else set()
        ends = {node for node, others in remaining.items() if not others & remaining.keys() or node not in reached}
        if not ends:
            return [set(remaining)] if remaining else []
        remaining = {node: others & remaining.keys() for node, others in remaining.items() if node not in ends}


def sub_room(name: str) -> Path:
    """The folder that a module lies in."""
    return modules()[name].parent.relative_to(ROOT)


def room_of(name: str) -> str:
    """The room that a module belongs to."""
    folder = sub_room(name)
    return API if folder == Path(API) else folder.parts[0]


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [{"b", "c"}]
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []


def test_no_files_import_each_other() -> None:
    assert circles(imports()) == []


def test_no_sub_rooms_import_each_other() -> None:
    rooms: dict[Path, set[Path]] = {}
    for name, others in imports().items():
        rooms.setdefault(sub_room(name), set()).update(sub_room(other) for other in others - FACE)
    assert circles(rooms) == []


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_what_it_may(room: str) -> None:
    reached = {
        (name, other)
        for name, others in imports().items()
        for other in others - FACE
        if room_of(name) == room and room_of(other) not in MAY_IMPORT[room]
    }
    assert reached == set()


def test_nothing_imports_the_face() -> None:
    assert {name for name, others in imports().items() if others & FACE} == set()


def stems(folder: str) -> set[str]:
    """The names of a folder's modules as a user types them; ``base`` holds what they derive from."""
    return {file.stem for file in (ROOT / folder).glob("*.py")} - {"__init__", "base", "registry"}


def test_files_are_named_after_the_words_that_a_user_types() -> None:
    assert stems("passes") == set(passes())
    assert {stem.replace("_", "-") for stem in stems("export/targets")} == set(targets())
    assert stems("cli/commands") == set(commands())
    assert stems("benchmarks/report") == set(formats())
    pictures = [name.replace("-", "_") for name in PICTURES]
    others = {"error_matrix", "labels"}  # the picture of `inspect`, and where labels go in any
    assert {stem for stem in stems("benchmarks/plots") if not any(stem in name for name in pictures)} == others
    assert stems("benchmarks/engines") == {spec.module for spec in ENGINES.values()}
    assert stems("benchmarks/engines/seq2seq") == {spec.module for spec in ENGINES.values() if spec.seq2seq}


@pytest.mark.parametrize("room", ROOMS)
def test_a_module_has_a_test_file_of_its_name(room: str) -> None:
    files = {file.relative_to(ROOT) for file in (ROOT / room).rglob("*.py") if not file.stem.startswith("__")}
    expected = {Path("tests") / file.with_name(f"test_{file.name}") for file in files}
    assert {str(file) for file in expected if not (ROOT / file).is_file()} == set()


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_that_transformers_loads_may_bring_code(room: str) -> None:
    """Where nobody says, transformers asks on the terminal, and a yes runs a stranger's code."""
    without_code = {"GenerationConfig", "PeftConfig"}
    asking = [
        f"{file}:{node.lineno}"
        for file in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "from_pretrained"
        and ast.unparse(node.func.value).rpartition(".")[2] not in without_code
        and not any(
            keyword.arg == "trust_remote_code" and ast.unparse(keyword.value) == "False" for keyword in node.keywords
        )
    ]
    assert asking == []
