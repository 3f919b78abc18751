"""GitHub Actions output: annotations and the step's summary."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from compress.benchmarks.gate.judge import Verdict
from compress.errors import UsageError
from compress.escape import markdown_code, markdown_text, printable

_COMMANDS = {"failed": "error", "inconclusive": "warning"}
_MARKS = {"passed": "✅", "failed": "❌", "inconclusive": "❔"}


def annotate(verdicts: Sequence[Verdict], notices: Sequence[str]) -> None:
    """Print a workflow command for every verdict that has not passed; nothing outside GitHub Actions."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    for verdict in verdicts:
        if verdict.outcome in _COMMANDS:
            click.echo(f"::{_COMMANDS[verdict.outcome]} title=compress gate::{_escaped(str(verdict))}")
    for notice in notices:
        click.echo(f"::warning title=compress gate::{_escaped(notice)}")


def summarize_step(verdicts: Sequence[Verdict], notices: Sequence[str]) -> None:
    """Append a table of the verdicts to the file that ``GITHUB_STEP_SUMMARY`` names; nothing where it names none."""
    file = os.environ.get("GITHUB_STEP_SUMMARY")
    if not file:
        return
    lines = ["### compress gate", "", "| | variant | required | measured | |", "| --- | --- | --- | ---: | --- |"]
    for verdict in verdicts:
        reason = verdict.why or verdict.outcome
        variant, measured, why = map(markdown_text, (verdict.variant, verdict.measured, reason))
        cells = [_MARKS[verdict.outcome], variant, markdown_code(verdict.requirement), measured, why]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"- {markdown_text(notice)}" for notice in notices), ""]
    try:
        with Path(file).open("a", encoding="utf-8") as summary:
            summary.write("\n".join(lines))
    except OSError as error:
        raise UsageError(f"can't write {file} ({error.strerror}), which GITHUB_STEP_SUMMARY names") from error


def _escaped(text: str) -> str:
    """A workflow command's message with GitHub's own escapes."""
    return printable(text, lines=True).replace("%", "%25").replace("\n", "%0A")
