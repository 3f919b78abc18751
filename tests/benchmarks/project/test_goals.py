"""Goals as data, and their results on made-up cards."""

import pytest

from compress.benchmarks.project import bench
from compress.benchmarks.project.cost import Cost
from compress.benchmarks.project.depth import DEPTHS, cost_figures
from compress.benchmarks.project.goals import (
    DEPTH,
    DYNAMIC,
    FILE_BITS,
    FLOAT,
    GOALS,
    HONESTY,
    INT4,
    LLAMA,
    NARROW,
    OFFGRID,
    PARETO,
    PEERS,
    POINTS,
    RECOVERY,
    REPEAT,
    STRUCTURE,
    Goal,
    GoalResult,
    artifacts,
    figure_results,
    goal_results,
    pipelines,
    result_lines,
)
from compress.benchmarks.results.metrics import metrics
from compress.modeling.kinds import KINDS


def test_goals_name_metrics_that_exist():
    kinds = dict.fromkeys(["smollm2", OFFGRID, STRUCTURE, RECOVERY, PARETO, PEERS], "decoder") | {"minilm": "encoder"}
    exports = {"nodes", "export_s", FILE_BITS}
    figures = {name: {metric.key for metric in metrics(KINDS[kind])} | exports for name, kind in kinds.items()}
    figures[REPEAT] = {"near", "same", "overhead_s"}
    figures[HONESTY] = {"different", "off", "found", "least", "most"}
    figures[DEPTH] = set(cost_figures({depth: Cost(depth, 1) for depth in DEPTHS}))
    assert set(bench.SECTIONS) == set(kinds)
    for goal in GOALS:
        assert goal.key in figures[goal.model]
        assert (goal.at_least is None) != (goal.at_most is None)


def test_pipelines():
    assert pipelines("smollm2") == ["int8,fuse", "fuse", DYNAMIC]
    assert pipelines("minilm") == ["fuse", "int8,fuse"]
    offgrid = pipelines(OFFGRID)
    assert len(offgrid) == 4
    assert all(pipeline.startswith("int4") and pipeline.endswith(",fuse") for pipeline in offgrid)


def test_artifacts_are_named_by_pipeline_and_by_the_target_if_it_is_another():
    assert artifacts("minilm") == {"fuse": ("fuse", "ort-cpu"), "int8,fuse": ("int8,fuse", "ort-cpu")}
    assert artifacts(PEERS) == {
        NARROW: (NARROW, "ort-cpu"),
        INT4: (INT4, "ort-cpu"),
        f"{NARROW} on gguf": (NARROW, "gguf"),
        f"{INT4} on gguf": (INT4, "gguf"),
    }
    assert pipelines(PEERS) == [NARROW, INT4]


def test_every_point_of_the_curve_is_smaller_and_less_accurate_than_the_one_before():
    assert pipelines(PARETO) == [variant for variant, _, _ in POINTS]
    bits, ratios = zip(*(point[1:] for point in POINTS), strict=True)
    assert list(bits) == sorted(bits, reverse=True)
    assert list(ratios) == sorted(ratios)


def test_verdicts(minilm):
    verdicts = goal_results("minilm", minilm(0.01))
    assert [verdict.met for verdict in verdicts] == [False, True, True]
    assert verdicts[0].value == pytest.approx(0.5)
    lines = result_lines(verdicts)
    assert lines[0].split() == ["minilm:", "fuse:", "latency_p50", "/", "torch", "0.5", "≤", "0.45", "MISSED"]
    assert lines[2].endswith(" met")


def test_a_goal_without_a_base_takes_the_figure_itself(minilm):
    goal = Goal("fuse", "cosine", at_least=0.995, model="minilm")
    assert goal.measured(minilm(0.01)) == 1.0


def test_logarithms_compare_what_was_lost(card):
    goal = Goal("tuned", "perplexity_ratio", at_most=0.5, base="pruned", logs=True)
    scored = card(**{"torch": {}, FLOAT: {}, "pruned": {"perplexity_ratio": 1.44}, "tuned": {"perplexity_ratio": 1.2}})
    assert goal.measured(scored) == pytest.approx(0.5)
    assert str(goal) == "smollm2: tuned: log perplexity_ratio / pruned"


def test_a_peer_that_is_absent_meets_no_goal(card):
    goal = Goal(INT4, "decode_tps", at_least=1.0, base=LLAMA, model=OFFGRID)
    alone = card(**{"torch": {}, FLOAT: {}, INT4: {"decode_tps": [100.0]}})
    verdict = GoalResult(goal, goal.measured(alone))
    assert (verdict.value, verdict.met, verdict.missed) == (None, False, False)
    assert result_lines([verdict])[0].endswith("–       ≥ 1  not measured")
    peers_card = card(**{"torch": {}, FLOAT: {}, INT4: {"decode_tps": [100.0]}, LLAMA: {"decode_tps": [80.0]}})
    assert goal.measured(peers_card) == 1.25


def test_a_variant_that_was_left_out_meets_no_goal(card):
    goal = Goal(INT4, "perplexity_ratio", at_most=1.12, model=OFFGRID)
    assert goal.measured(card(**{"torch": {}, FLOAT: {}})) is None


def test_depth_is_judged_by_its_figures():
    verdicts = figure_results(DEPTH, {"wall_s": 300.0, "peak_gib": 1.5, "r2": 1.0, "growth": 1.0})
    assert [str(verdict) for verdict in verdicts] == ["met", "MISSED", "met", "met"]
