"""The table and the files of a report."""

from compress.benchmarks.report import markdown, table, write
from compress.benchmarks.scorecard import Scorecard

TORCH = {"decode_tps": [10.0, 10.0, 10.4], "disk_bytes": 100e6, "perplexity": 17.756, "top1": 1.0}
ONNX = {"decode_tps": [20.0, 20.0, 20.8], "disk_bytes": 100e6, "perplexity": 17.756, "top1": 1.0}
INT8 = {"decode_tps": [50.0, 50.0, 52.0], "disk_bytes": 27e6, "perplexity": 17.8, "top1": 0.981}


def test_table(card):
    headers, rows = table(card(torch=TORCH, onnx=ONNX, **{"int8,fuse": INT8}))
    assert headers == ["× torch · × onnx", "torch", "onnx", "int8,fuse"]
    assert rows == [
        ["decode, tokens/s", "10.0 ± 0.1", "20.0 ± 0.2\n2.00×", "50.0 ± 0.5\n5.00× · 2.50×"],
        ["on disk, MB", "100.0", "100.0\n1.00×", "27.0\n0.27× · 0.27×"],
        ["perplexity", "17.76", "17.76", "17.80"],
        ["top-1 agreement, %", "100.00", "100.00", "98.10"],
    ]


def test_a_row_without_a_metric(card):
    _, rows = table(card(torch=TORCH, onnx={}))
    assert [row[2] for row in rows] == ["–"] * 4


def test_encoders_have_other_columns(card):
    made = card("encoder", torch={"latency_p50": [0.01]}, onnx={"latency_p50": [0.004], "cosine": 0.99998})
    _, rows = table(made)
    assert [row[0] for row in rows] == ["latency p50, ms", "cosine to original"]
    assert rows[0][2] == "4.00 ± 0.00\n0.40×"


def test_markdown(card):
    text = markdown(card(torch=TORCH, onnx=ONNX, int8=INT8 | {"perplexity_ratio": 1.2}))
    assert "| decode, tokens/s | 10.0 ± 0.1 | 20.0 ± 0.2<br>2.00× | 50.0 ± 0.5<br>5.00× · 2.50× |" in text
    assert "- int8 LOSES ACCURACY" in text
    assert "compress tiny" in text
    assert "a processor" in text


def test_many_variants_make_several_tables(card):
    text = markdown(card(torch=TORCH, onnx=ONNX, **{f"v{i}": INT8 for i in range(9)}))
    heads = [line for line in text.splitlines() if line.startswith("| × torch")]
    assert [head.count("|") - 3 for head in heads] == [5, 5, 2]


def test_files(card, tmp_path):
    made = card(torch=TORCH, onnx=ONNX)
    text, data = write(made, tmp_path)
    assert (text.name, data.name) == ("report.md", "report.json")
    assert Scorecard.open(data) == made
