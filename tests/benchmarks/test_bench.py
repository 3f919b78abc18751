"""Goals as data, and a benchmark that fails where one is missed."""

import pytest

from compress.benchmarks import bench
from compress.benchmarks.bandwidth import read_bandwidth
from compress.benchmarks.contention import Contention
from compress.benchmarks.cores import available_cores
from compress.benchmarks.goals import DYNAMIC, FLOAT, GOALS, Goal, judge, pipelines, verdict_lines
from compress.benchmarks.metric_table import metrics
from compress.errors import RunError


def minilm(card, latency: float):
    base = {"latency_p50": [0.02], "cosine": 1.0}
    return card(
        "encoder",
        torch=base,
        onnx=base,
        fuse={"latency_p50": [latency], "cosine": 1.0},
        **{"int8,fuse": {"latency_p50": [0.006], "cosine": 0.996}},
    )


def test_goals_name_metrics_that_exist():
    kinds = {"smollm2": "decoder", "minilm": "encoder"}
    for goal in GOALS:
        assert goal.key in {metric.key for metric in metrics(kinds[goal.model])} | {"nodes", "export_s"}
        assert (goal.at_least is None) != (goal.at_most is None)


def test_pipelines():
    assert pipelines("smollm2") == ["int8,fuse", "fuse", DYNAMIC]
    assert pipelines("minilm") == ["fuse", "int8,fuse"]


def test_verdicts(card):
    verdicts = judge("minilm", minilm(card, 0.01))
    assert [verdict.met for verdict in verdicts] == [False, True, True]
    assert verdicts[0].value == pytest.approx(0.5)
    lines = verdict_lines(verdicts)
    assert lines[0].split() == ["minilm:", "fuse:", "latency_p50", "/", "torch", "0.5", "≤", "0.45", "MISSED"]
    assert lines[2].endswith(" met")


def test_a_goal_without_a_base_takes_the_figure_itself(card):
    goal = Goal("fuse", "cosine", at_least=0.995, model="minilm")
    assert goal.measured(minilm(card, 0.01)) == 1.0


def test_exports_are_goals_too(card, llama_plain):
    made = card(**{"torch": {}, FLOAT: {}, "fuse": {}})
    known = bench._with_exports(made, {"fuse": bench.node_count(llama_plain.path), FLOAT: 500}, 12.5)
    assert Goal(FLOAT, "export_s", at_most=20).measured(known) == 12.5
    assert 20 < Goal("fuse", "nodes", at_most=341).measured(known) < 100


@pytest.mark.parametrize(("latency", "code"), [(0.008, 0), (0.01, 1)])
def test_exit_code(card, monkeypatch, capsys, latency, code, tmp_path):
    monkeypatch.setattr(bench, "bench", lambda name, evaluation, folder: minilm(card, latency))
    assert bench.main(["--model", "minilm", "--out", str(tmp_path / "reports")]) == code
    shown = capsys.readouterr()
    assert shown.out.count("MISSED") == code
    assert (tmp_path / "reports" / "minilm" / "report.json").is_file()


def test_a_failure_is_one_line(monkeypatch, capsys):
    def fail(name, evaluation, folder):
        raise RunError("no such thing")

    monkeypatch.setattr(bench, "bench", fail)
    assert bench.main(["--model", "smollm2"]) == RunError.exit_code
    assert capsys.readouterr().err == "bench: no such thing\n"


def test_machine():
    assert available_cores() >= 1
    assert read_bandwidth(2, size=1 << 20, rounds=2) > 0
    assert Contention([]).others() >= 0
