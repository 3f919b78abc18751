"""Figures by length and batch: pictures, and tables in every format of a report."""

import csv
import io
from xml.etree import ElementTree

import pytest

from compress.benchmarks.plots.length import PICTURES
from compress.benchmarks.report.base import Report, write
from compress.benchmarks.report.markdown import Markdown
from compress.benchmarks.results.report_file import read_card


def words(picture):
    return "".join(ElementTree.fromstring(picture).itertext())


def test_every_format_has_it(lengths_card, tmp_path):
    written = {file.name for file in write([lengths_card], tmp_path)}
    pictures = {f"report.{name}.{suffix}" for name in ("latency-length", "fusion-length", "error-layer")
                for suffix in ("png", "svg")}  # fmt: skip
    assert pictures | {"report.lengths.csv"} <= written
    assert read_card(tmp_path) == lengths_card
    shown = {
        name: words((tmp_path / f"report.{name}.svg").read_bytes())
        for name in ("latency-length", "fusion-length", "error-layer")
    }
    assert all(word in shown["latency-length"] for word in ("torch", "int8", "batch 4", "tokens", "256", "512"))
    assert all(word in shown["fusion-length"] for word in ("fuse / onnx", "prefill, × without the pass", "decoding"))
    assert all(word in shown["error-layer"] for word in ("int8", "int4 (its weights)", "layer"))
    cells = list(csv.DictReader(io.StringIO((tmp_path / "report.lengths.csv").read_text())))
    assert [(row["variant"], row["length"], row["batch"]) for row in cells[:5]] == [
        (name, "256", "1") for name in ("torch", "onnx", "fuse", "int8")
    ] + [("torch", "256", "4")]  # fmt: skip
    assert float(cells[2]["ttft"]) == 0.1 and float(cells[2]["decode_tps_ratio"]) == pytest.approx(1.1)
    page, text, tex = ((tmp_path / f"report.{suffix}").read_text() for suffix in ("html", "md", "long.tex"))
    assert "## Operators and length" in text
    assert "| fuse | fuse | onnx | 512 tokens × 1 | 4.00× | 1.20× |" in text
    assert "| 512 tokens × 1 | 400.0 ± 0.0 | 400.0 ± 0.0<br>1.00× | 100.0 ± 0.0<br>0.25× · 0.25× |" in text
    assert page.count("<svg") == 3
    assert '<td class="word lines">512 tokens × 1</td>' in page
    assert r"\caption{time to first token, ms, by length and batch: tiny on a processor" in tex
    assert r"512 tokens $\times$ 1 & 400.0 $\pm$ 0.0 & " in tex


def test_runs_without_lengths_have_none_of_it(card, tmp_path):
    plain = {"decode_tps": [1.0, 2.0]}
    written = {file.name for file in write([card(torch=plain, onnx=plain)], tmp_path)}
    assert written == {"report.md", "report.json", "report.csv", "report.tex", "report.long.tex", "report.html"}
    assert all("length" not in (tmp_path / name).read_text() for name in ("report.tex", "report.long.tex"))


def test_several_runs_are_told_apart(lengths_card, card):
    short = {(64, 1): {"latency_p50": [0.01] * 2, "sentences_ps": [100.0] * 2}}
    long = {(128, 1): {"latency_p50": [0.02] * 2, "sentences_ps": [50.0] * 2}}
    runs = [lengths_card, card("encoder", model="bert", torch=short | long, onnx=short | long)]
    (text,) = Markdown().files(Report(runs)).values()
    assert "## tiny, 2026-01-01T00:00:00+00:00: By length and batch" in text
    assert "## bert, 2026-01-01T00:00:00+00:00: By length and batch" in text
    drawn = words(PICTURES["latency-length"](runs, "svg"))
    assert all(label in drawn for label in ("bert: torch", "tiny: fuse", "latency p50, ms", "time to first token, ms"))
