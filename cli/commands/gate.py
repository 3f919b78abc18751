"""Check a report against requirements and an earlier report."""

from __future__ import annotations

from pathlib import Path

import click

from compress.cli.console import Console
from compress.cli.shared.options import FilePath, require, strict
from compress.errors import UsageError


@click.command("gate")
@click.argument("report", type=FilePath(), metavar="REPORT.json")
@require
@click.option(
    "--baseline",
    type=FilePath(),
    metavar="LAST.json",
    help="Earlier report to compare with; needs --tolerance.",
)
@click.option(
    "--tolerance",
    "tolerances",
    multiple=True,
    metavar="LIST",
    help='How much worse than the baseline each figure may be: "perplexity=1%, decode_speedup=5%".',
)
@click.option(
    "--variant", "variants", multiple=True, metavar="NAME", help="Variant to check; repeat for more.  [default: all]"
)
@click.option("--any-model", is_flag=True, help="Compare with a baseline of another model all the same.")
@strict
@click.option("--junit", type=FilePath(), metavar="FILE", help="Write the results as JUnit XML.")
def command(
    report: Path,
    require: tuple[str, ...],
    baseline: Path | None,
    tolerances: tuple[str, ...],
    variants: tuple[str, ...],
    any_model: bool,
    strict: bool,
    junit: Path | None,
) -> None:
    """Check the variants of a report against requirements, and against an earlier report.

    Exits with code 1 if one is not met. A figure passes or fails only where its whole 95 % confidence interval does;
    otherwise it is inconclusive.
    """
    from compress.benchmarks.gate.judge import compare_with_baseline, differences, judge
    from compress.benchmarks.gate.junit import check_junit
    from compress.benchmarks.gate.requirement import parse_requirements, parse_tolerances
    from compress.benchmarks.results.findings import doubts
    from compress.benchmarks.results.report_file import read_card
    from compress.cli.shared.gating import enforce

    console = Console()
    requirements, tolerated = parse_requirements(require), parse_tolerances(tolerances)
    if (baseline is None) != (not tolerated):
        raise UsageError("--baseline and --tolerance belong together; give both, or neither")
    if not requirements and not tolerated:
        raise UsageError("nothing to check; give --require, or --baseline with --tolerance")
    if junit is not None:
        check_junit(junit)
    card = read_card(report)
    verdicts, notices = judge(card, requirements, variants), doubts(card)
    if baseline is not None:
        earlier = read_card(baseline)
        verdicts += compare_with_baseline(card, earlier, tolerated, variants, any_model)
        notices += differences(card, earlier)
    enforce(verdicts, strict, console, notices, junit)
