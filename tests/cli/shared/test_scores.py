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


MANY = BASE | {
    "ttft": [0.1, 0.1], "prefill_tps": [9.0, 9.0], "peak_rss": 1e9, "load_s": 1.0, "load_rss": 1e8,
    "perplexity_ratio": 1.0, "kl": 0.1, "top1": 0.9, "beam_tps": [3.0, 3.0],
}  # fmt: skip


def test_eight_figures_and_what_was_asked_for_are_shown_unless_all_are(card, tmp_path, capsys):
    run = card(torch=MANY, onnx=MANY, int8=MANY | INT8)
    print_scores(run, tmp_path, Console())
    out = capsys.readouterr().out
    shown = [heading for heading in HEADINGS if heading in out]
    assert shown == HEADINGS[:-3]
    assert "\n3 more figures in the report; --all shows them here\n" in out
    print_scores(run, tmp_path, Console(), every_figure=True)
    out = capsys.readouterr().out
    assert [heading for heading in HEADINGS if heading in out] == HEADINGS
    assert "--all" not in out


HEADINGS = [
    "decode, tokens/s", "time to first token", "prefill, tokens/s", "peak RSS, MB", "on disk", "accuracy retention",
    "perplexity, × original", "KL to original, nats", "beam search", "peak RSS of loading", "load, s", "top-1",
]  # fmt: skip


def test_a_sentence_on_each_variant_comes_last(card, tmp_path, capsys):
    print_scores(card(torch=BASE, onnx=BASE, int8=INT8, int4=INT8), tmp_path, Console())
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"{name}: 3.3× smaller, decodes 2× as fast as onnx and 2× as torch, retention 0.9750"
        for name in ("int8", "int4")
    ]


def test_what_each_pass_brought_is_printed_where_a_variant_is_there_without_it(card, tmp_path, capsys):
    print_scores(card(torch=BASE, onnx=BASE, int8=INT8), tmp_path, Console())
    assert "against" not in capsys.readouterr().out
    print_scores(card(torch=BASE, onnx=BASE, **{"int8,fuse": INT8, "int8": INT8, "fuse": BASE}), tmp_path, Console())
    out = capsys.readouterr().out
    assert "against" in out and "accuracy ★" in out
    assert [line.split("┃")[1].strip() for line in out.splitlines() if "┃ against" in line] == ["pass"]
    assert "│ fuse │ int8,fuse │ int8" in " ".join(out.split())
