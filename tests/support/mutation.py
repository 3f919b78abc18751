"""Mutants of this project's code, and the share of them that its tests kill.

``make mutate MUTANTS=100 SEED=0`` draws so many mutants of the rooms `benchmarks/` and `passes/`, one change each
(cosmic-ray's operators), and runs the tests of the module that was changed: its own quick ones, its folder's,
and its own slow ones, until one fails. What no test can tell (annotations, decorators, `TYPE_CHECKING`) isn't changed.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).parents[2]
ROOMS = ("benchmarks", "passes")
FOLDERS = ("benchmarks", "cli", "compress", "export", "passes", "profiles")
_WORKERS = 2
_SECONDS = 600
"""that the tests of a mutant may take: what runs on is killed, and the mutant with it"""
_PRELOADED = ("numpy", "onnx", "onnxruntime", "torch", "transformers", "hypothesis", "pydantic", "scipy.stats")
"""Libraries that are imported once, before a process is forked for each mutant."""
_SWAPPED = {
    "Binary": ("Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow", "BitAnd", "BitOr"),
    "Comparison": ("Eq", "NotEq", "Lt", "LtE", "Gt", "GtE"),
}
_OTHERS = (
    "AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "NumberReplacer", "ZeroIterationForLoop",
    "ReplaceUnaryOperator_USub_UAdd", "ReplaceUnaryOperator_Delete_Not", "ReplaceComparisonOperator_Is_IsNot",
    "ReplaceComparisonOperator_IsNot_Is",
)  # fmt: skip

Position = tuple[int, int]


@dataclass(frozen=True)
class Mutant:
    """One change of a module: the ``occurrence`` of an operator, at a position (line, column)."""

    module: Path
    operator: str
    occurrence: int
    position: Position

    def __str__(self) -> str:
        return f"{self.module}:{self.position[0]}:{self.position[1]} {self.operator.removeprefix('core/')}"

    def code(self) -> str:
        """The module with the change."""
        changed = mutate_code((ROOT / self.module).read_text(), get_operator(self.operator)(), self.occurrence)
        assert changed is not None, self
        return str(changed)


def mutants(module: Path) -> Iterator[Mutant]:
    """Every mutant of a module."""
    code = (ROOT / module).read_text()
    hidden = [*_hidden(ast.parse(code))]
    nodes = [*ast_nodes(get_ast(code))]
    for name in _operators():
        operator, occurrence = get_operator(name)(), 0
        for node in nodes:
            for begin, _ in operator.mutation_positions(node):
                if not any(first <= begin <= last for first, last in hidden):
                    yield Mutant(module, name, occurrence, begin)
                occurrence += 1


def _operators() -> list[str]:
    pairs = {
        f"core/Replace{kind}Operator_{old}_{new}"
        for kind, operators in _SWAPPED.items()
        for old in operators
        for new in operators
    }
    wanted = pairs | {f"core/{name}" for name in _OTHERS}
    return sorted(wanted & set(operator_names()))


def _hidden(tree: ast.AST) -> Iterator[tuple[Position, Position]]:
    """Spans of a module in which no test can see a change."""
    for node in ast.walk(tree):
        spans: list[ast.AST | None] = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        spans += getattr(node, "decorator_list", [])
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            spans.append(node)
        if isinstance(node, ast.Call):
            spans += [key for key in node.keywords if key.arg in ("strict", "frozen")]
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp | ast.Subscript):
            targets = [target.id for target in node.targets if isinstance(target, ast.Name)]
            spans += [node] if any(name[0].isupper() and not name.isupper() for name in targets) else []  # a type
        for span in spans:
            if span is not None and hasattr(span, "lineno"):
                yield (span.lineno, span.col_offset), (span.end_lineno or 0, span.end_col_offset or 0)


def draw(count: int, seed: int) -> list[Mutant]:
    """So many mutants: positions are drawn, and an operator for each."""
    modules = [path.relative_to(ROOT) for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    places: dict[tuple[Path, Position], list[Mutant]] = {}
    for module in modules:
        for mutant in mutants(module):
            places.setdefault((module, mutant.position), []).append(mutant)
    chance = random.Random(seed)
    return [chance.choice(places[place]) for place in chance.sample(sorted(places), min(count, len(places)))]


def suites(module: Path) -> list[list[str]]:
    """Arguments of the test runs that a module's mutant has to survive."""
    folder = Path("tests", *module.parts[:-1])
    own = folder / f"test_{module.name}"
    quick, slow = ["-m", "not slow"], ["-m", "slow"]
    if not (ROOT / own).exists():
        return [[str(folder), *quick]]
    return [[str(own), *quick], [str(folder), *quick], [str(own), *slow]]


def _is_sound(module: Path, scratch: Path) -> bool:
    """Whether a module's own tests pass without any change."""
    return not _fails(suites(module)[0], copied(scratch))


def _is_killed(mutant: Mutant, scratch: Path) -> bool:
    """Whether a test fails on a mutant."""
    copy = copied(scratch)
    file = copy / mutant.module
    original = file.read_text()
    try:
        file.write_text(mutant.code())
        return any(_fails(arguments, copy) for arguments in suites(mutant.module))
    finally:
        file.write_text(original)


def _fails(arguments: Sequence[str], copy: Path) -> bool:
    """Whether a run of tests fails, in a process that is forked and so has the libraries already."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        status = 1
        with contextlib.suppress(BaseException):
            status = _run(arguments, copy)
        os._exit(status)
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def _run(arguments: Sequence[str], copy: Path) -> int:
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy / ".links")
    sys.path[:] = [str(copy), str(copy / ".links"), *(entry for entry in sys.path if Path(entry) != ROOT)]
    for name in [name for name in sys.modules if name.split(".")[0] in ("compress", "tests")]:
        del sys.modules[name]
    return int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *arguments]))


def copied(scratch: Path) -> Path:
    """This process's copy of the project, whose packages go before the installed ones; it is made once."""
    folder = scratch / str(os.getpid())
    if folder.exists():
        return folder
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    links = folder / ".links" / "compress"
    links.mkdir(parents=True)
    for entry in (folder / "compress").iterdir():
        (links / entry.name).symlink_to(entry)
    for room in FOLDERS:
        if room != "compress":
            (links / room).symlink_to(folder / room)
    return folder


def main(count: int, seed: int) -> int:
    """Print every mutant that survives and the share that is killed; 1 where a test fails without any change."""
    for name in _PRELOADED:
        importlib.import_module(name)
    drawn = draw(count, seed)
    survivors: list[Mutant] = []
    begin = time.monotonic()
    forking = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as scratch, ProcessPoolExecutor(_WORKERS, forking) as pool:
        modules = sorted({mutant.module for mutant in drawn})
        sound = pool.map(_is_sound, modules, repeat(Path(scratch)))
        if broken := [str(module) for module, passes in zip(modules, sound, strict=True) if not passes]:
            print(f"tests fail without any change: {', '.join(broken)}")
            return 1
        for mutant, dead in zip(drawn, pool.map(_is_killed, drawn, repeat(Path(scratch))), strict=True):
            if not dead:
                survivors.append(mutant)
                print(f"survived: {mutant}", flush=True)
    share = 1 - len(survivors) / len(drawn)
    seconds = time.monotonic() - begin
    print(f"{len(drawn)} mutants (seed {seed}), {len(survivors)} survived: {share:.0%} killed, {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
