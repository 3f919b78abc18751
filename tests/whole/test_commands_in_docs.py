"""Commands and code in the docs: known to the command line, and run as a reader would on a tiny model, ``./my-model``.

A fenced ``bash`` or ``python`` block is run, unless a comment in front of it says what it needs that tests don't have:
``<!-- needs: vllm -->``. What needs the demo is run by `test_claims`. ``text`` is output, or illustrates.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

import click
import pytest

from compress.calibration.inputs import TextInputs
from compress.cli.main import cli, commands
from compress.pipeline.parse import Pipeline
from tests.support.cli import few_rounds, run_cli

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GENERATED = {DOCS / "cli.md", DOCS / "passes.md"}
PAGES = [DOCS / "guide.md", ROOT / "README.md", *sorted({*DOCS.rglob("*.md")} - GENERATED - {DOCS / "guide.md"})]
"""The guide first: what its commands leave is what other pages go on with."""
NEEDS = {"demo", "gpu", "llama.cpp", "network", "sentence encoder", "vllm"}
"""What a block may say that it needs."""
DEMO_COMMAND = "compress demo:smollm2 --pipeline int8,fuse"
"""What the docs have a reader run first."""
FENCE = re.compile(r"(?:^<!-- needs: ([^\n]+) -->\n\n)?^```(\w*)\n(.*?)^```$", re.M | re.S)
TEXT = "the quick brown fox jumps over a lazy dog while seven wizards box daily with jugs of quartz liquor\n" * 2000


@dataclass(frozen=True)
class Block:
    """A fenced block: its page and language, and what it needs."""

    page: Path
    needs: str
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The lines, as a shell joins them."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.startswith("#")]


def blocks(page: Path) -> list[Block]:
    return [Block(page, *groups) for groups in FENCE.findall(page.read_text())]


def our_commands(page: Path) -> Iterator[str]:
    """Every command of ours in a page, whether it is run or not."""
    for block in blocks(page):
        if block.language in ("bash", "text", ""):
            yield from (line.removeprefix("$ ") for line in block.commands if re.match(r"(\$ )?compress ", line))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_one_that_the_command_line_knows(page: Path) -> None:
    for line in our_commands(page):
        words = shlex.split(line, comments=True)[1:]
        name = words.pop(0) if words[0] in commands() else "run"
        program = click.Context(cli, **cli.context_settings)
        command = cli.get_command(program, name)
        assert command is not None
        options = command.make_context(name, words, program).params
        for pipeline in options.get("pipelines", ()):
            Pipeline.parse(pipeline)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_block_needs_is_a_known_word(page: Path) -> None:
    assert {block.needs for block in blocks(page)} - {""} <= NEEDS
    assert page.read_text().count("<!-- needs:") == sum(bool(block.needs) for block in blocks(page))


@pytest.fixture
def reader(tiny: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a model and its texts, in which a reader works; little is solved on and measured there."""
    sizes = {"hidden_size": 128, "intermediate_size": 256, "max_position_embeddings": 512}
    shutil.copytree(tiny("LlamaForCausalLM", tie_word_embeddings=True, **sizes), tmp_path / "my-model")
    (tmp_path / "text.txt").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(TextInputs, "calibration_size", lambda *_, **__: (16, 64))
    with few_rounds(windows=2):
        yield tmp_path


def run(line: str) -> None:
    """A command line: ours in this process, others in a shell. One whose comment says ``exit 1`` may do so."""
    words = shlex.split(line, comments=True)
    if words[0] == "compress":
        arguments = [name for word in words[1:] for name in (sorted(glob(word)) if "*" in word else [word])]
        done = run_cli(*arguments)
    else:
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode in ((0, 1) if "exit 1" in line else (0,)), f"{line}: {done.stderr}"


@pytest.mark.slow
def test_every_block_runs(reader: Path) -> None:
    """A command that stands in several pages is run once."""
    past: set[tuple[str, ...]] = set()
    for block in (block for page in PAGES for block in blocks(page) if not block.needs):
        if block.language == "python" and (block.text,) not in past:
            namespace: dict[str, Any] = {"__name__": "__main__"}
            exec(compile(block.text, block.page, "exec"), namespace)
            past.add((block.text,))
        for line in block.commands if block.language == "bash" else ():
            words = tuple(shlex.split(line, comments=True))
            if words not in past:
                run(line)
                past.add(words)


def test_what_needs_the_demo_is_one_command() -> None:
    """The tests of the claims run it, and hold its variant to what is claimed."""
    needing = [block for page in PAGES for block in blocks(page) if block.needs == "demo"]
    assert {line for block in needing for line in block.commands} == {DEMO_COMMAND}
