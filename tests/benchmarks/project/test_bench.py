"""Goals as data, and a benchmark that fails where one is missed."""

import pytest

from compress.benchmarks.project import bench
from compress.benchmarks.project.goals import (
    FILE_BITS,
    FLOAT,
    INT4,
    LLAMA,
    OFFGRID,
    Goal,
    GoalResult,
)
from compress.errors import MissingComponentError, RunError
from compress.system.machine import conditions


def test_exports_are_goals_too(card, llama_plain):
    sizes = {"torch": 4e6, FLOAT: 4.1e6, "fuse": 4.2e6}
    scored = card(**{name: {"disk_bytes": size} for name, size in sizes.items()})
    completed = bench._with_exports(scored, {"fuse": bench.node_count(llama_plain.path), FLOAT: 500}, 12.5)
    assert Goal(FLOAT, "export_s", at_most=20).measured(completed) == 12.5
    assert 20 < Goal("fuse", "nodes", at_most=341).measured(completed) < 100
    assert Goal("fuse", FILE_BITS, at_most=33).measured(completed) == 8 * 4.2e6 / scored.original.parameters


@pytest.mark.parametrize(("latency", "code"), [(0.008, 0), (0.01, 1)])
def test_exit_code(minilm, monkeypatch, capsys, latency, code, tmp_path):
    monkeypatch.setattr(bench, "bench", lambda name, *rest: minilm(latency))
    assert bench.main(["--only", "minilm", "--out", str(tmp_path / "reports")]) == code
    shown = capsys.readouterr()
    assert shown.out.count("MISSED") == code
    assert (tmp_path / "reports" / "minilm" / "report.json").is_file()


def test_what_is_not_measured_is_a_missing_component(monkeypatch, capsys):
    goal = Goal(INT4, "decode_tps", at_least=1.0, base=LLAMA, model=OFFGRID)
    monkeypatch.setattr(bench, "_part", lambda name, *rest: [GoalResult(goal, None)])
    assert bench.main(["--only", OFFGRID]) == MissingComponentError.exit_code
    shown = capsys.readouterr()
    assert shown.out.count("not measured") == 1
    assert shown.err == "bench: 1 goals not measured\n"


def test_a_failure_is_one_line(monkeypatch, capsys):
    def fail(name, *rest):
        raise RunError("no such thing")

    monkeypatch.setattr(bench, "bench", fail)
    assert bench.main(["--only", "smollm2"]) == RunError.exit_code
    assert capsys.readouterr().err == "bench: no such thing\n"


def test_conditions_of_the_machine_are_told():
    assert "pinning" in conditions()
