"""What a report says by length and batch: tables in every format, pictures, what fusion brings, and what is slower."""

import csv
import io
from xml.etree import ElementTree

import pytest

from compress.benchmarks.report.base import write
from compress.benchmarks.results.findings import findings
from compress.benchmarks.results.fusion_gain import Gain, gain_table, gains
from compress.benchmarks.results.layer_errors import LayerErrors, layer_errors
from compress.benchmarks.results.report_file import read_card
from compress.benchmarks.results.table import length_tables
from compress.checkpoint.manifest import LayerReport, Manifest, Source
from compress.weights.stored import StoredForm, WeightReport


def cell(first, decode):
    return {
        "ttft": [first] * 3,
        "prefill_tps": [1 / first] * 3,
        "itl_p50": [1 / decode] * 3,
        "decode_tps": [decode] * 3,
    }


def words(picture):
    return "".join(ElementTree.parse(picture).getroot().itertext())


@pytest.fixture
def run(card):
    """Twice as fast with fusion at 256 tokens, four times at 512; int8 is slower at prefill there."""
    plain = {(256, 1): cell(0.2, 10.0), (256, 4): cell(0.8, 20.0), (512, 1): cell(0.4, 10.0), (512, 4): cell(1.6, 20.0)}
    fused = {(256, 1): cell(0.1, 11.0), (256, 4): cell(0.4, 22.0), (512, 1): cell(0.1, 12.0), (512, 4): cell(0.8, 22.0)}
    int8 = {(256, 1): cell(0.2, 30.0), (256, 4): cell(1.0, 40.0), (512, 1): cell(0.5, 30.0), (512, 4): cell(1.6, 40.0)}
    errors = {"errors": LayerErrors("outputs", (0, 1), (0.01, 0.02))}
    rough = {"errors": LayerErrors("weights", (0, 1), (0.03, 0.05))}
    return card(torch=plain, onnx=plain, fuse=fused, int8=int8 | errors, int4=rough)


def test_a_table_for_each_metric(run):
    tables = length_tables(run)
    assert [headers[0] for headers, _ in tables] == [
        "decode, tokens/s", "inter-token p50, ms", "time to first token, ms", "prefill, tokens/s"
    ]  # fmt: skip
    headers, rows = tables[2]
    assert headers[1:] == ["torch", "onnx", "fuse", "int8", "int4"]
    assert [row[0] for row in rows] == ["256 tokens × 1", "256 tokens × 4", "512 tokens × 1", "512 tokens × 4"]
    assert rows[2][1:] == [
        "400.0 ± 0.0", "400.0 ± 0.0\n1.00×", "100.0 ± 0.0\n0.25× · 0.25×", "500.0 ± 0.0\n1.25× · 1.25×", "–"
    ]  # fmt: skip


def test_what_other_operators_bring_is_told_length_by_length(run):
    found = gains(run)
    assert [(each.length, each.batch, each.times["prefill_tps"].value) for each in found] == [
        (256, 1, pytest.approx(2)), (256, 4, pytest.approx(2)), (512, 1, pytest.approx(4)), (512, 4, pytest.approx(2))
    ]  # fmt: skip
    assert {(type(each), each.applied, each.row, each.without) for each in found} == {(Gain, "fuse", "fuse", "onnx")}
    assert gain_table(run) == (
        ["pass", "in", "against", "at", "prefill", "decoding"],
        [
            ["fuse", "fuse", "onnx", "256 tokens × 1", "2.00×", "1.10×"],
            ["fuse", "fuse", "onnx", "512 tokens × 1", "4.00×", "1.20×"],
            ["fuse", "fuse", "onnx", "256 tokens × 4", "2.00×", "1.10×"],
            ["fuse", "fuse", "onnx", "512 tokens × 4", "2.00×", "1.10×"],
        ],
    )


def test_what_is_slower_somewhere_is_told_in_a_line(run):
    assert findings(run) == [
        "int8 is SLOWER than onnx at prefill with 256 tokens × 4, 512 tokens × 1: 0.80× its speed at worst"
    ]


def test_every_format_has_it(run, tmp_path):
    written = {file.name for file in write([run], tmp_path)}
    pictures = {f"report.{name}.{suffix}" for name in ("latency-length", "fusion-length", "error-layer")
                for suffix in ("png", "svg")}  # fmt: skip
    assert pictures | {"report.lengths.csv"} <= written
    assert read_card(tmp_path) == run
    shown = {
        name: words(tmp_path / f"report.{name}.svg") for name in ("latency-length", "fusion-length", "error-layer")
    }
    assert all(word in shown["latency-length"] for word in ("torch", "int8", "batch 4", "tokens", "256", "512"))
    assert all(word in shown["fusion-length"] for word in ("fuse / onnx", "prefill, × without the pass", "decoding"))
    assert all(word in shown["error-layer"] for word in ("int8", "int4 (its weights)", "layer"))
    cells = list(csv.DictReader(io.StringIO((tmp_path / "report.lengths.csv").read_text())))
    assert [(row["variant"], row["length"], row["batch"]) for row in cells[:5]] == [
        (name, "256", "1") for name in ("torch", "onnx", "fuse", "int8")
    ] + [("torch", "256", "4")]  # fmt: skip
    assert float(cells[2]["ttft"]) == 0.1 and float(cells[2]["decode_tps_ratio"]) == pytest.approx(1.1)
    page, text, tex = ((tmp_path / f"report.{suffix}").read_text() for suffix in ("html", "md", "tex"))
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
    assert written == {"report.md", "report.json", "report.csv", "report.tex", "report.html"}
    assert "length" not in (tmp_path / "report.tex").read_text()


def test_several_runs_are_told_apart(run, card, tmp_path):
    short = {(64, 1): {"latency_p50": [0.01] * 2, "sentences_ps": [100.0] * 2}}
    long = {(128, 1): {"latency_p50": [0.02] * 2, "sentences_ps": [50.0] * 2}}
    write([run, card("encoder", model="bert", torch=short | long, onnx=short | long)], tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "## tiny, 2026-01-01T00:00:00+00:00: By length and batch" in text
    assert "## bert, 2026-01-01T00:00:00+00:00: By length and batch" in text
    drawn = words(tmp_path / "report.latency-length.svg")
    assert all(each in drawn for each in ("bert: torch", "tiny: fuse", "latency p50, ms", "time to first token, ms"))


def test_each_layers_worst_matrix_counts():
    def manifest(*reports):
        weights = {f"model.layers.{i}.{kind}.weight": report for i, kind, report in reports}
        return Manifest(
            source=Source(
                name="tiny", sha256="0", architecture="A", kind="decoder", parameters=8, nbytes=32, tied=False
            ),
            pipeline="int4", recipe=[], seed=0, calibration="none", versions={}, machine={},
            weights={name: StoredForm.dense((2, 2), 4) for name in weights},
            layers={"all": LayerReport(seconds=1, weights=weights)},
        )  # fmt: skip

    def report(error, weight_error):
        return WeightReport(solver="gptq", error=error, weight_error=weight_error)

    known = [(0, "q", report(0.1, 0.5)), (0, "k", report(0.3, 0.2)), (1, "q", report(0.2, 0.9)), (2, "q", report(0, 0))]
    assert layer_errors(manifest(*known)) == LayerErrors("outputs", (0, 1), (0.3, 0.2))
    assert layer_errors(manifest((4, "q", report(None, 0.2)))) == LayerErrors("weights", (4,), (0.2,))
    assert layer_errors(manifest()) is None
