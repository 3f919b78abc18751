"""What GitHub Actions is told: annotations, and a table in the step's summary."""

import pytest

from compress.benchmarks.gate.judge import Verdict
from compress.cli.shared.github import annotate, summarize_step
from compress.errors import UsageError

VERDICTS = [
    Verdict("m", "a|b", "kl<=1", "0.5", "passed"),
    Verdict("m", "int8", "bytes<=0.1x", "50%\nof it", "failed", "missed"),
    Verdict("m", "int8", "decode_speedup>=2", "2×", "inconclusive"),
]


def test_only_github_gets_annotations(monkeypatch, capsys):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    annotate(VERDICTS, ["noise"])
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    annotate(VERDICTS, ["noise"])
    assert capsys.readouterr().out.splitlines() == [
        "::error title=compress gate::int8: bytes<=0.1x: 50%25%0Aof it (missed)",
        "::warning title=compress gate::int8: decode_speedup>=2: 2×",
        "::warning title=compress gate::noise",
    ]


def test_a_summary_is_added_to_what_is_there(monkeypatch, tmp_path):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    summarize_step(VERDICTS, [])
    file = tmp_path / "summary.md"
    file.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    summarize_step(VERDICTS[:1], ["noise"])
    assert file.read_text().splitlines() == [
        "before", "### compress gate", "", "| | variant | required | measured | |", "| --- | --- | --- | ---: | --- |",
        "| ✅ | a\\|b | `kl<=1` | 0.5 | passed |", "", "- noise",
    ]  # fmt: skip


@pytest.mark.parametrize(("outcome", "mark"), [("passed", "✅"), ("failed", "❌"), ("inconclusive", "❔")])
def test_every_outcome_has_its_mark(monkeypatch, tmp_path, outcome, mark):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "s.md"))
    summarize_step([Verdict("m", "v", "r", "1", outcome)], [])
    assert f"| {mark} | v |" in (tmp_path / "s.md").read_text()


def test_a_summary_that_cannot_be_written_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "none" / "summary.md"))
    with pytest.raises(UsageError, match=r"summary\.md \(No such file or directory\), which GITHUB_STEP_SUMMARY names"):
        summarize_step(VERDICTS, [])
