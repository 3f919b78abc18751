"""Write verdicts as JUnit XML, which CI systems show as test results."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from compress.benchmarks.gate.judge import Outcome, Verdict
from compress.errors import UsageError
from compress.escape import printable
from compress.system.output_file import check_output_file, write_output_file

_TAGS: dict[Outcome, str] = {"failed": "failure", "inconclusive": "skipped"}


def write_junit(verdicts: Sequence[Verdict], file: Path) -> None:
    """Write a suite for each variant and a case for each requirement; what is inconclusive counts as skipped.

    Raises UsageError where the file can't be written, or is one that holds something else.
    """
    check_junit(file)
    root = Element("testsuites", _counts(verdicts) | {"name": "compress gate"})
    for (model, variant), group in groupby(verdicts, lambda verdict: (verdict.model, verdict.variant)):
        cases = list(group)
        suite = SubElement(root, "testsuite", _counts(cases) | {"name": printable(f"{model} {variant}")})
        for verdict in cases:
            names = {"classname": printable(variant), "name": printable(verdict.requirement)}
            case = SubElement(suite, "testcase", names | {"time": "0"})
            if verdict.outcome in _TAGS:
                SubElement(case, _TAGS[verdict.outcome], {"message": printable(f"{verdict.measured}: {verdict.why}")})
    indent(root)
    text = io.BytesIO()
    ElementTree(root).write(text, encoding="utf-8", xml_declaration=True)
    write_output_file(file, text.getvalue())


def check_junit(file: Path) -> None:
    """Raise UsageError for a file that can't be written, or that isn't XML: a report, say, named once too often."""
    check_output_file(file)
    if not file.is_file():
        return
    with file.open("rb") as stream:
        beginning = stream.read(5)
    if beginning not in (b"", b"<?xml", b"<test"):
        raise UsageError(f"{file} is no JUnit XML, so it is not replaced; name another file with --junit")


def _counts(verdicts: Sequence[Verdict]) -> dict[str, str]:
    outcomes = [verdict.outcome for verdict in verdicts]
    return {
        "tests": str(len(outcomes)),
        "failures": str(outcomes.count("failed")),
        "errors": "0",
        "skipped": str(outcomes.count("inconclusive")),
    }
