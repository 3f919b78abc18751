"""Print a scorecard's tables and findings."""

from __future__ import annotations

from pathlib import Path

from compress.benchmarks.results.findings import findings
from compress.benchmarks.results.fusion_gain import gain_table
from compress.benchmarks.results.scorecard import Scorecard
from compress.benchmarks.results.table import comparison_table, length_tables
from compress.cli.console import Console


def print_scores(card: Scorecard, out: Path, console: Console) -> None:
    """Print what was measured, and where in the directory ``out`` the report is."""
    for headers, rows in (comparison_table(card), gain_table(card), *length_tables(card)):
        if rows:
            console.show(headers, rows)
    for line in findings(card):
        console.out.print(f"! {line}", markup=False, soft_wrap=True)
    console.say(f"report: {out / 'report.md'}")
