"""Telling what the gate found, and ending with exit code 1 where it doesn't open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from compress.benchmarks.gate.judge import Verdict
from compress.benchmarks.gate.junit import write_junit
from compress.cli.console import Console
from compress.cli.shared.github import annotate, summarize_step
from compress.errors import RequirementError

_ORDER = ("failed", "inconclusive")


def enforce(
    verdicts: Sequence[Verdict],
    strict: bool,
    console: Console,
    notices: Sequence[str] = (),
    junit: Path | None = None,
) -> None:
    """Show what wasn't passed, and everything to CI; a RequirementError where something failed.

    ``strict``: what is inconclusive fails too.
    """
    if strict:
        verdicts = [replace(each, outcome="failed") if each.outcome == "inconclusive" else each for each in verdicts]
    if junit is not None:
        write_junit(verdicts, junit)
    annotate(verdicts, notices)
    summarize_step(verdicts, notices)
    for notice in notices:
        console.notice(notice)
    open_points = [each for outcome in _ORDER for each in verdicts if each.outcome == outcome]
    if open_points:
        cells = [[each.variant, each.requirement, each.measured, each.outcome, each.why] for each in open_points]
        console.show(["variant", "required", "measured", "", ""], cells)
    counts = Counter(each.outcome for each in verdicts)
    console.out.print(f"gate: {', '.join(f'{count} {outcome}' for outcome, count in sorted(counts.items()))}")
    if failed := [each for each in open_points if each.outcome == "failed"]:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise RequirementError(f"the gate stays shut: {failed[0]}{more}")
