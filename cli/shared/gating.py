"""Check requirements before the work, and enforce them after it: exit code 1 where one is not met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from compress.benchmarks.gate.judge import Verdict
from compress.benchmarks.gate.junit import write_junit
from compress.benchmarks.gate.requirement import Requirement, check_kind, check_labeled, check_tasks
from compress.cli.console import Console
from compress.cli.shared.github import annotate, summarize_step
from compress.errors import RequirementError

if TYPE_CHECKING:
    from compress.benchmarks.data.inputs import EvaluationInputs
    from compress.checkpoint.model import Model

_ORDER = ("failed", "inconclusive")


def check_figures(requirements: Sequence[Requirement], model: Model) -> None:
    """Refuse, with a UsageError, figures that a model of this kind doesn't have."""
    check_kind([requirement.figure for requirement in requirements], model.kind)


def check_measured(requirements: Sequence[Requirement], evaluation: EvaluationInputs) -> None:
    """Refuse, with a UsageError, figures that take labeled text or tasks which the user didn't name."""
    figures = [requirement.figure for requirement in requirements]
    check_labeled(figures, evaluation.labeled.metrics if evaluation.labeled else ())
    check_tasks(figures, evaluation.tasks.better if evaluation.tasks else ())


def enforce(
    verdicts: Sequence[Verdict],
    strict: bool,
    console: Console,
    notices: Sequence[str] = (),
    junit: Path | None = None,
) -> None:
    """Print what has not passed, and tell CI everything; a RequirementError where something failed.

    ``strict`` treats inconclusive verdicts as failed ones.
    """
    if strict:
        verdicts = [replace(v, outcome="failed") if v.outcome == "inconclusive" else v for v in verdicts]
    if junit is not None:
        write_junit(verdicts, junit)
    annotate(verdicts, notices)
    summarize_step(verdicts, notices)
    for notice in notices:
        console.notice(notice)
    not_passed = [verdict for outcome in _ORDER for verdict in verdicts if verdict.outcome == outcome]
    if not_passed:
        cells = [[v.variant, v.requirement, v.measured, v.outcome, v.why] for v in not_passed]
        console.show(["variant", "required", "measured", "", ""], cells)
    counts = Counter(verdict.outcome for verdict in verdicts)
    console.line(f"gate: {', '.join(f'{count} {outcome}' for outcome, count in sorted(counts.items()))}")
    if failed := [verdict for verdict in not_passed if verdict.outcome == "failed"]:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise RequirementError(f"requirement not met: {failed[0]}{more}")
