"""A scorecard in the terminal: its tables, its findings, and where the report is."""

from compress.cli.console import Console
from compress.cli.shared.scores import print_scores
from tests.support.cards import BASE, INT8


def test_figures_have_their_ratios_and_findings_follow(card, tmp_path, capsys):
    run = card(torch=BASE, onnx=BASE, int8=INT8, zeros="int8")
    print_scores(run, tmp_path, Console())
    out, errors = capsys.readouterr()
    assert errors == f"report: {tmp_path / 'report.md'}\n"
    assert "decode, tokens/s" in out
    assert "2.00×" in out
    assert [line for line in out.splitlines() if line.startswith("! ")]


def test_cells_are_shown_length_by_length(card, tmp_path, capsys):
    cell = {(64, 2): {"decode_tps": [5.0, 5.0, 5.0]}}
    print_scores(card(torch=BASE | cell, onnx=BASE | cell), tmp_path, Console())
    assert "64 tokens × 2" in capsys.readouterr().out
