"""Tables for spreadsheets."""

import csv
import io

from tests.support.cards import ONNX, QUANTIZED, TORCH


def test_csv_is_what_was_stored(card, render):
    quoted = card(model='a,"b"', torch=TORCH, onnx=ONNX, int8=QUANTIZED)
    rows = list(csv.DictReader(io.StringIO(render("csv", quoted))))
    assert [(row["model"], row["variant"], row["role"]) for row in rows] == [
        ('a,"b"', "torch", "original"), ('a,"b"', "onnx", "float"), ('a,"b"', "int8", "variant")
    ]  # fmt: skip
    figures = {key: rows[2][key] for key in ("decode_tps", "decode_tps_spread", "decode_tps_ratio", "disk_bytes")}
    assert {key: float(value) for key, value in figures.items()} == {
        "decode_tps": 50.0, "decode_tps_spread": 0.5, "decode_tps_ratio": 5.0, "disk_bytes": 27e6
    }  # fmt: skip
    assert (rows[0]["decode_tps_ratio"], rows[2]["disk_bytes_spread"], rows[2]["top1"]) == ("", "", "0.981")


def test_a_task_is_no_formula(card, render):
    task = card(torch=TORCH | {"=cmd().acc": 0.5}, onnx=ONNX).model_copy(update={"tasks": {"=cmd().acc": "higher"}})
    header = render("csv", task).splitlines()[0].split(",")
    assert "'=cmd().acc" in header and "=cmd().acc" not in header
