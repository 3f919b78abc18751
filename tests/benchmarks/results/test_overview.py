"""Contenders of several runs in one table."""

from compress.benchmarks.results.overview import measured, overview, report_rows, run_names, run_prefixes
from tests.support.cards import ONNX, QUANTIZED, TORCH

BERT = {"latency_p50": [0.01, 0.02], "disk_bytes": 10e6}


def test_runs_stand_below_each_other_with_the_metrics_that_any_has(card):
    runs = [
        card(torch=TORCH, onnx=ONNX, int8=QUANTIZED),
        card("encoder", model="bert", processor="another", torch=BERT),
    ]
    headers, rows = overview(runs)
    assert headers == [
        "model", "machine", "variant", "decode, tokens/s", "latency p50, ms", "on disk, MB", "accuracy retention",
        "perplexity", "top-1 agreement, %",
    ]  # fmt: skip
    assert [row[:3] for row in rows] == [
        ["tiny", "a processor, 2 threads", "torch"],
        ["tiny", "a processor, 2 threads", "onnx"],
        ["tiny", "a processor, 2 threads", "int8"],
        ["bert", "another, 2 threads", "torch"],
    ]
    assert rows[2][3:] == ["50.0 ± 0.5 (5.00×)", "–", "27.0 (0.27×)", "0.9975", "17.80", "98.10"]
    assert rows[3][3:6] == ["–", "15.00 ± 2.50", "10.0"]


def test_ratios_are_the_others_and_of_what_is_compared(card):
    run = card(torch=TORCH, int8=QUANTIZED)
    original, variant = report_rows([run])
    by_key = {metric.key: metric for metric in measured([run])}
    assert original.ratio(by_key["disk_bytes"]) is None
    assert variant.ratio(by_key["disk_bytes"]).value == 0.27
    assert variant.ratio(by_key["perplexity"]) is None


def test_a_tasks_figures_come_last(card):
    figures = {"a.acc": (0.5, 0.5), "disk_bytes": 1.0}
    run = card(torch=figures).model_copy(update={"tasks": {"a.acc": "higher", "b.acc": "higher"}})
    assert [metric.key for metric in measured([run])] == ["disk_bytes", "a.acc"]


def test_runs_are_named_by_what_tells_them_apart(card):
    first = card(torch=TORCH)
    assert (run_names([first]), run_prefixes([first])) == (["tiny"], [""])
    assert run_prefixes([first, first.model_copy(update={"model": "bert"})]) == ["tiny: ", "bert: "]
    assert run_names([first, first.model_copy(update={"model": "bert"})]) == ["tiny", "bert"]
    assert run_names([first, first.model_copy(update={"threads": 1})]) == ["2 threads", "1 thread"]
    other = first.model_copy(update={"machine": {"processor": "another"}})
    assert run_names([first, other, first]) == ["a processor run 1", "another", "a processor run 3"]
    later = other.model_copy(update={"created": "2026-02-01", "model": "bert"})
    assert run_names([first, other, later]) == ["tiny, a processor", "tiny, another", "bert, another"]
