"""Requirements are enforced: what is shown, what is raised, and what strictness changes."""

from xml.etree import ElementTree

import pytest

from compress.benchmarks.gate.judge import Verdict
from compress.benchmarks.gate.requirement import parse_requirements
from compress.checkpoint.model import Model
from compress.cli.console import Console
from compress.cli.shared.gating import check_figures, enforce
from compress.errors import RequirementError, UsageError

PASSED = Verdict("m", "int8", "kl<=1", "0.5", "passed")
UNSURE = Verdict("m", "int8", "decode_speedup>=2", "2.0×", "inconclusive", "the noise is larger")
FAILED = Verdict("m", "int4", "bytes<=0.1x", "0.2×", "failed", "missed by 100.00%")


@pytest.fixture(autouse=True)
def _no_ci(monkeypatch):
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)


def test_what_passes_opens_the_gate_and_what_is_unsure_is_shown(capsys):
    enforce([PASSED, UNSURE], False, Console(), notices=["nothing to compare with"])
    out, errors = capsys.readouterr()
    assert errors == "note: nothing to compare with\n"
    assert "the noise is larger" in out
    assert "kl<=1" not in out
    assert out.endswith("gate: 1 inconclusive, 1 passed\n")


def test_the_first_failure_is_raised_and_the_others_are_counted(capsys, tmp_path):
    with pytest.raises(RequirementError) as caught:
        enforce([UNSURE, FAILED, PASSED], True, Console(), junit=tmp_path / "gate.xml")
    assert str(caught.value) == (
        "requirement not met: int8: decode_speedup>=2: 2.0× (the noise is larger) (and 1 more)"
    )
    assert capsys.readouterr().out.endswith("gate: 2 failed, 1 passed\n")
    assert ElementTree.parse(tmp_path / "gate.xml").getroot().get("failures") == "2"


def test_figures_that_a_model_does_not_have_are_refused(llama, bert):
    requirements = parse_requirements(["decode_tps>=1"])
    check_figures(requirements, Model.open(llama))
    with pytest.raises(UsageError, match="decode_tps is no metric of encoders"):
        check_figures(requirements, Model.open(bert))
