"""What a GitHub Actions job shows beside its log: the step's summary and annotations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from compress.benchmarks.gate.judge import Verdict

_COMMANDS = {"failed": "error", "inconclusive": "warning"}
_MARKS = {"passed": "✅", "failed": "❌", "inconclusive": "❔"}


def annotate(verdicts: Sequence[Verdict], notices: Sequence[str]) -> None:
    """Print a workflow command for all that isn't passed, where GitHub Actions runs this, and nothing elsewhere."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    for each in verdicts:
        if each.outcome in _COMMANDS:
            click.echo(f"::{_COMMANDS[each.outcome]} title=compress gate::{_escaped(str(each))}")
    for notice in notices:
        click.echo(f"::warning title=compress gate::{_escaped(notice)}")


def summarize_step(verdicts: Sequence[Verdict], notices: Sequence[str]) -> None:
    """Append a table of the verdicts to the step's summary, where the environment names its file."""
    file = os.environ.get("GITHUB_STEP_SUMMARY")
    if not file:
        return
    lines = ["### compress gate", "", "| | variant | required | measured | |", "| --- | --- | --- | ---: | --- |"]
    for each in verdicts:
        cells = [_MARKS[each.outcome], each.variant, f"`{each.requirement}`", each.measured, each.why or each.outcome]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines += ["", *(f"- {notice}" for notice in notices), ""]
    with Path(file).open("a", encoding="utf-8") as summary:
        summary.write("\n".join(lines))


def _escaped(text: str) -> str:
    """A workflow command's message: GitHub's own escapes."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
