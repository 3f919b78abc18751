"""``compress gate``: hold a report against requirements and an earlier report."""

from __future__ import annotations

from pathlib import Path

import click

from compress.benchmarks.gate.judge import compare_with_baseline, differences, judge
from compress.benchmarks.gate.requirement import parse_requirements, parse_tolerances
from compress.benchmarks.results.report_file import read_card
from compress.cli.console import Console
from compress.cli.shared.gating import enforce
from compress.cli.shared.options import require, strict
from compress.errors import UsageError


@click.command("gate")
@click.argument("report", type=click.Path(path_type=Path), metavar="REPORT.json")
@require
@click.option("--baseline", type=click.Path(path_type=Path), metavar="LAST.json", help="An earlier report.")
@click.option(
    "--tolerance", "tolerances", multiple=True, metavar="LIST",
    help='By how much figures may be worse than the baseline\'s, like "perplexity=1%, decode_speedup=5%".',
)  # fmt: skip
@click.option(
    "--variant", "variants", multiple=True, metavar="NAME", help="Gate this one; may be repeated.  [default: all]"
)  # fmt: skip
@strict
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write the verdicts as JUnit XML.")
def command(
    report: Path,
    require: tuple[str, ...],
    baseline: Path | None,
    tolerances: tuple[str, ...],
    variants: tuple[str, ...],
    strict: bool,
    junit: Path | None,
) -> None:
    """Hold every variant of a report against requirements, and against what it was in an earlier report.

    Exits 1 where one isn't met. A figure passes or fails where its whole 95 % interval does; what lies inside the noise
    is called inconclusive.
    """
    console = Console()
    required, tolerated = parse_requirements(require), parse_tolerances(tolerances)
    if (baseline is None) != (not tolerated):
        raise UsageError("--baseline and --tolerance belong together: what is compared, and how much worse it may be")
    if not required and not tolerated:
        raise UsageError("nothing to gate on: give --require, or --baseline with --tolerance")
    card = read_card(report)
    verdicts, notices = judge(card, required, variants), []
    if baseline is not None:
        last = read_card(baseline)
        verdicts += compare_with_baseline(card, last, tolerated, variants)
        notices = differences(card, last)
    enforce(verdicts, strict, console, notices, junit)
