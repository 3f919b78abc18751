"""Tables of one run: figures, their ratios to the baselines, and how many contenders stand in one."""

from compress.benchmarks.results.table import TableCell, TableRow, comparison_table, groups, length_tables
from tests.support.cards import ONNX, QUANTIZED, TORCH


def test_table(card):
    headers, rows = comparison_table(card(torch=TORCH, onnx=ONNX, **{"int8,fuse": QUANTIZED}))
    assert headers == ["× torch · × onnx", "torch", "onnx", "int8,fuse"]
    assert [(row.heading, *row.cells) for row in rows] == [
        ("decode, tokens/s", TableCell("10.0 ± 0.1"), TableCell("20.0 ± 0.2", ("2.00×",)),
         TableCell("50.0 ± 0.5", ("5.00×", "2.50×"))),
        ("on disk, MB", TableCell("100.0"), TableCell("100.0", ("1.00×",)), TableCell("27.0", ("0.27×", "0.27×"))),
        ("accuracy retention", TableCell("1.0000"), TableCell("1.0000"), TableCell("0.9975")),
        ("perplexity", TableCell("17.76"), TableCell("17.76"), TableCell("17.80")),
        ("top-1 agreement, %", TableCell("100.00"), TableCell("100.00"), TableCell("98.10")),
    ]  # fmt: skip


def test_ratios_are_on_a_line_of_their_own():
    assert TableCell("50.0 ± 0.5", ("5.00×", "2.50×")).lines == ["50.0 ± 0.5", "5.00× · 2.50×"]
    assert TableCell("98.10").lines == ["98.10"]
    row = TableRow("on disk, MB", (TableCell("1.0"), TableCell("–")))
    assert row.texts(lambda cell: cell.text * 2) == ["on disk, MB", "1.01.0", "––"]


def test_a_row_without_a_metric(card):
    _, rows = comparison_table(card(torch=TORCH, onnx={}))
    assert [row.cells[1] for row in rows] == [TableCell("–")] * 5


def test_a_ratio_to_a_figure_that_is_missing_is_a_dash(card):
    _, rows = comparison_table(card(torch=TORCH, onnx={}, int8={"disk_bytes": 27e6}))
    assert rows[1].cells[2] == TableCell("27.0", ("0.27×", "–"))


def test_encoders_have_other_columns(card):
    scored = card("encoder", torch={"latency_p50": [0.01]}, onnx={"latency_p50": [0.004], "cosine": 0.99998})
    _, rows = comparison_table(scored)
    assert [row.heading for row in rows] == ["latency p50, ms", "cosine to original"]
    assert rows[0].cells[1] == TableCell("4.00 ± 0.00", ("0.40×?",))


def test_a_ratio_that_launches_do_not_tell_from_one_has_a_question_mark(card):
    rates = [10.0, 10.2, 9.9], [10.1, 9.9, 10.2], [20.0, 20.4, 19.8]
    scored = card(**dict(zip(["torch", "onnx", "int8"], ({"decode_tps": own} for own in rates), strict=True)))
    (row, *_) = comparison_table(scored)[1]
    assert [cell.ratios for cell in row.cells] == [(), ("1.01×?",), ("2.00×", "1.98×")]


def test_baselines_stand_in_every_group(card):
    run = card(torch=TORCH, onnx=ONNX, **{f"v{i}": QUANTIZED for i in range(5)})
    assert list(groups(run)) == [["torch", "onnx", "v0", "v1", "v2", "v3"], ["torch", "onnx", "v4"]]
    assert list(groups(card(torch=TORCH))) == [["torch"]]


def test_a_table_for_each_metric_by_length_and_batch(lengths_card):
    tables = length_tables(lengths_card)
    assert [headers[0] for headers, _ in tables] == [
        "decode, tokens/s", "inter-token p50, ms", "time to first token, ms", "prefill, tokens/s"
    ]  # fmt: skip
    headers, rows = tables[2]
    assert headers[1:] == ["torch", "onnx", "fuse", "int8", "int4"]
    assert [row.heading for row in rows] == ["256 tokens × 1", "256 tokens × 4", "512 tokens × 1", "512 tokens × 4"]
    assert rows[2].cells == (
        TableCell("400.0 ± 0.0"),
        TableCell("400.0 ± 0.0", ("1.00×",)),
        TableCell("100.0 ± 0.0", ("0.25×", "0.25×")),
        TableCell("500.0 ± 0.0", ("1.25×", "1.25×")),
        TableCell("–"),
    )
