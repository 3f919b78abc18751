"""Names are nouns of the field, no class name is defined twice, and types say more than ``Any``."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("benchmarks", "cli", "compress", "export", "passes", "profiles")
VAGUE = {
    "one", "each", "found", "known", "said", "made", "what", "whole", "wanted", "given", "seen", "held", "asked", "odd",
    "near", "left", "told", "taken", "kept", "stood", "beside", "called",
}  # fmt: skip
"""Words that name a thing by what happened to it; a reader wants to know what it is: `logits`, `mask`, `reason`."""
VAGUE_AT_MOST = 5.0
"""In 1000 identifiers. The same count elsewhere: compressed-tensors 0, mlx-lm 0, tinygrad 1, onnx/ir-py 3."""
ANY_AT_MOST = 4.0
"""In 1000 lines."""


@cache
def trees(*folders: str) -> dict[Path, tuple[ast.Module, int]]:
    """Every file of some folders, or of every room: its syntax tree and its number of lines."""
    files = {file: file.read_text() for room in folders or ROOMS for file in sorted((ROOT / room).rglob("*.py"))}
    return {file.relative_to(ROOT): (ast.parse(text), len(text.splitlines())) for file, text in files.items()}


def identifiers(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """What a file gives a name to, with the line: variables, attributes, parameters, functions and classes."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name, node.lineno
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, node.lineno


def is_vague(name: str) -> bool:
    return name.strip("_").lower() in VAGUE


def test_every_way_to_give_a_name_is_counted() -> None:
    source = """
class Each:
    def found(self, one, *, wanted=0):
        self.kept = one
        found_scale = [known for known in wanted]
        with open(one) as _held:
            found.read, (near, far) = one, wanted
"""
    names = [name for name, _ in identifiers(ast.parse(source))]
    assert sorted(filter(is_vague, names)) == ["Each", "_held", "found", "kept", "known", "near", "one", "wanted"]
    assert not is_vague("found_scale")


@pytest.mark.parametrize("folders", [ROOMS, ("tests",)], ids=["rooms", "tests"])
def test_names_say_what_a_thing_is(folders: tuple[str, ...]) -> None:
    files = trees(*folders).items()
    names = [(name, f"{file}:{line}") for file, (tree, _) in files for name, line in identifiers(tree)]
    vague = [f"{place}: {name}" for name, place in names if is_vague(name)]
    assert 1000 * len(vague) / len(names) < VAGUE_AT_MOST, vague


def test_no_class_name_is_defined_twice() -> None:
    classes = Counter(
        node.name for tree, _ in trees().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in classes.items() if count > 1] == []


def test_types_say_more_than_any() -> None:
    lines = sum(count for _, count in trees().values())
    uses = Counter(
        str(file)
        for file, (tree, _) in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id == "Any"
    )
    assert 1000 * uses.total() / lines < ANY_AT_MOST, uses.most_common()
