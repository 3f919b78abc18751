"""The docs: pages generated from the code, and links that lead somewhere.

After a change of a pass's options or of a command's help, write the generated pages again with ``make docs``, or with
``python -m tests.whole.test_docs``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from compress.cli.commands.passes import forms, summary, values
from compress.cli.main import cli, commands
from compress.export.targets.base import targets
from compress.pipeline.contract import Pass
from compress.pipeline.contract import passes as all_passes

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ROOMS = ("benchmarks", "cli", "compress", "export", "passes")
README = ROOT / "README.md"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
AGAIN = "write the page again: make docs, or python -m tests.whole.test_docs"
WIDTH = 96
"""Columns of the help in the docs."""


def cli_page() -> str:
    """``cli.md``: the help of every command, as a terminal shows it."""
    lines = ["# Command line", "", "What `compress --help` and each command's `--help` print.", ""]
    for name in ("", *commands()):
        words = ["compress", name] if name else ["compress"]
        lines += [f"## {' '.join(words)}", "", "```text", command_help(name), "```", ""]
    return "\n".join(lines)


def command_help(name: str) -> str:
    """The help of a command, or of the program."""
    done = CliRunner().invoke(cli, [name, "--help"] if name else ["--help"], prog_name="compress", terminal_width=WIDTH)
    assert done.exit_code == 0, done.output
    return done.output.rstrip()


def passes() -> dict[str, type[Pass]]:
    """The program's own passes: other tests of this process may have defined more."""
    return {name: cls for name, cls in all_passes().items() if cls.__module__.startswith("compress.passes.")}


def passes_page() -> str:
    """``passes.md``: what ``compress passes`` prints, as tables."""
    lines = [
        "# Passes",
        "",
        "A pipeline is passes in order, separated by commas; a pass is its name and options, separated by colons:",
        "`prune:ratio=0.25,int4:group=64:asym,fuse`. An option's value may stand alone where only one option has it:",
        "`int4:asym` is `int4:symmetry=asym`. [Which passes go together](composition.md) says which orders work.",
        "`compress passes` prints this page's content.",
        "",
        "| pass | does | takes → may leave |",
        "| --- | --- | --- |",
    ]
    lines += [f"| [`{name}`](#{name}) | {summary(step)} | {forms(step)} |" for name, step in passes().items()]
    for name, step in passes().items():
        lines += ["", f"## {name}", "", summary(step), "", forms(step), *option_table(step), *presets(name, step)]
    return "\n".join([*lines, ""])


def option_table(cls: type[Pass]) -> list[str]:
    """A pass's options, a row each; nothing where it has none."""
    if not cls.options():
        return ["", "It has no options."]
    rows = [
        f"| `{key}` | `{option.default}` | {cell(values(option))} | {cell(option.description or '')} |"
        for key, option in cls.options().items()
    ]
    return ["", "| option | default | values | |", "| --- | --- | --- | --- |", *rows]


def presets(name: str, cls: type[Pass]) -> list[str]:
    """The names that the field has for some settings of a pass."""
    names = [f"`{preset}` is `{name}:{options}`" for preset, options in cls.presets.items()]
    aliases = [f"`{key}` is `{alias.option}`" for key, alias in cls.aliases.items() if alias.option is not None]
    return [
        *(["", f"By another name: {', '.join(names)}."] if names else []),
        *(["", f"As in other projects: {', '.join(aliases)}."] if aliases else []),
    ]


def cell(text: str) -> str:
    """A text that a table's bars don't cut, and whose stars and names stay as they are."""
    return re.sub(r"(\S*\*\S*)", r"`\1`", text.replace("|", "\\|"))


GENERATED: dict[str, Callable[[], str]] = {"cli.md": cli_page, "passes.md": passes_page}
"""Pages by name, and what writes them."""


LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.M | re.S)
PATH = re.compile(r"`((?:benchmarks|cli|compress|docs|examples|export|passes|profiles|tests)/[\w/.-]*)`")
NOT_THERE = {"passes/trim.py", "tests/passes/test_trim.py"}
"""The pass that CONTRIBUTING adds."""


def anchors(page: Path) -> set[str]:
    """What a link to a heading of a page may name, as GitHub and mkdocs derive it from the heading."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(FENCED.sub("", page.read_text())):
        place, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / place).resolve() if place else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    named = set(PATH.findall(page.read_text())) - NOT_THERE
    assert {path for path in named if not (ROOT / path).exists()} == set()


def test_the_messages_of_the_guide_are_the_programs() -> None:
    """Those of its troubleshooting, piece by piece: an ellipsis stands for what differs from case to case."""
    table = (DOCS / "guide.md").read_text().partition("| it says | do |")[2]
    messages = re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| ([^|]+) \|", table, re.M)))
    assert len(messages) > 5
    code = "".join(file.read_text() for room in ROOMS for file in (ROOT / room).rglob("*.py"))
    code = re.sub(r'"\s*\n\s*f?"', "", code)
    pieces = [piece.strip(" :;") for message in messages for piece in message.split("…")]
    assert [piece for piece in pieces if piece not in code] == []


def test_the_readme_is_short() -> None:
    lines = README.read_text().splitlines()
    assert len(lines) <= 120
    assert [line for line in lines if len(line) > 115 and not line.startswith("|")] == []


def test_the_readme_names_every_pass_and_target() -> None:
    sections = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", README.read_text(), re.M | re.S))
    first = {name: "".join(re.findall(r"^\| ([^|]+) \|", sections[name], re.M)) for name in ("Passes", "Targets")}
    assert set(re.findall(r"`([\w-]+)`", first["Passes"])) == set(passes())
    assert set(re.findall(r"`([\w-]+)`", first["Targets"])) == set(targets())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_have_a_width(page: Path) -> None:
    """But for tables, and what is fenced."""
    lines = FENCED.sub("", page.read_text()).splitlines()
    assert [line for line in lines if len(line) > 125 and not line.startswith("|")] == []


def test_every_sub_room_is_described() -> None:
    """In the overview, each by its folder."""
    overview = (DOCS / "architecture.md").read_text()
    folders = {file.parent.relative_to(ROOT) for room in ROOMS for file in (ROOT / room).rglob("__init__.py")}
    assert [folder for folder in sorted(folders) if f"| `{folder}/` |" not in overview] == []


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text() == GENERATED[name](), AGAIN


if __name__ == "__main__":
    for name, page in GENERATED.items():
        (DOCS / name).write_text(page())
