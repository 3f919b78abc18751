"""Every format of a report."""

import resource
import signal
import time

import pytest

from compress.benchmarks.report.base import Report, write
from compress.benchmarks.results.report_file import read_card, read_cards
from tests.support.cards import ONNX, QUANTIZED, TORCH

FILES = {"report.md", "report.json", "report.csv", "report.tex", "report.long.tex", "report.html"} | {
    f"report.accuracy-{cost}.{suffix}" for cost in ("size", "speed") for suffix in ("png", "svg")
}


def test_every_format_is_written(card, tmp_path):
    scored = card(torch=TORCH, onnx=ONNX, int8=QUANTIZED)
    assert {file.name for file in write([scored], tmp_path)} == FILES == {file.name for file in tmp_path.iterdir()}
    assert read_card(tmp_path) == scored


def test_several_runs_make_one_report(card, tmp_path):
    small = {"latency_p50": [0.01, 0.02], "retention": 1.0, "disk_bytes": 10e6}
    cards = [
        card(torch=TORCH, onnx=ONNX, int8=QUANTIZED | {"perplexity_ratio": 1.2}),
        card("encoder", model="bert", processor="another", torch=small, onnx=small, int8=small | {"disk_bytes": 4e6}),
    ]
    write(cards, tmp_path)
    assert read_cards(tmp_path) == cards
    text = (tmp_path / "report.md").read_text()
    assert "| model | machine | variant | decode, tokens/s | latency p50, ms | on disk, MB |" in text
    assert "| tiny | a processor, 2 threads | int8 | 50.0 ± 0.5 (5.00×) | – | 27.0 (0.27×) |" in text
    assert "| bert | another, 2 threads | int8 | – | 15.00 ± 2.50 (1.00×) | 4.0 (0.40×) |" in text
    assert "- tiny: int8 LOSES ACCURACY" in text


def test_the_same_figures_give_the_same_files(card, tmp_path):
    scored = card(torch=TORCH, onnx=ONNX, int8=QUANTIZED)
    first = {file.name: file.read_bytes() for file in write([scored], tmp_path)}
    assert {file.name: file.read_bytes() for file in write([scored], tmp_path)} == first


def test_a_picture_is_drawn_once_for_all_formats(card):
    drawings = []
    report = Report([card(torch=TORCH)])

    def draw(cards, suffix):
        drawings.append((cards, suffix))
        return None if suffix == "svg" else b"png"

    assert [report.picture(draw, suffix) for suffix in ("svg", "png", "svg", "png")] == [None, b"png"] * 2
    assert drawings == [(report.cards, "svg"), (report.cards, "png")]


def test_two_hundred_variants_are_cheap_to_report(card, tmp_path):
    """Half as many seconds of one core are usual; the clock on the wall would tell of other programs too."""
    cards = [
        card(model=f"m{i}", torch=TORCH, onnx=ONNX, **{f"int8-{j}": QUANTIZED for j in range(10)}) for i in range(20)
    ]
    begin = time.process_time()
    write(cards, tmp_path)
    assert time.process_time() - begin < 5
    assert len(read_cards(tmp_path)) == 20


def test_a_full_disk_leaves_the_earlier_report_as_it_was(card, tmp_path):
    """The limit on a file's size stands for the disk's: pictures don't fit, the rest does."""
    write([card(torch=TORCH, onnx=ONNX, int8=QUANTIZED)], tmp_path)
    (tmp_path / "README.md").write_text("an earlier card")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write([card(torch=TORCH, onnx=ONNX, int4=QUANTIZED)], tmp_path, {tmp_path / "README.md": "a new card"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_what_only_the_earlier_report_had_goes_and_other_files_stay(card, lengths_card, tmp_path):
    write([lengths_card], tmp_path)
    earlier = {file.name for file in tmp_path.iterdir()}
    assert "report.lengths.csv" in earlier
    (tmp_path / "report.docx").write_text("mine")
    write([card(torch=TORCH, onnx=ONNX, int8=QUANTIZED)], tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == FILES | {"report.docx"}
