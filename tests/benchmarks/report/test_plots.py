"""Pictures as files."""

from xml.etree import ElementTree

from compress.benchmarks.report.base import Report, write
from compress.benchmarks.report.plots import Plots
from tests.support.cards import ONNX, QUANTIZED, TORCH


def test_plots_name_what_they_show(card):
    files = Plots().files(Report([card(torch=TORCH, onnx=ONNX, int8=QUANTIZED)]))
    names = ("report.accuracy-size", "report.accuracy-speed")
    assert files.keys() == {f"{name}.{suffix}" for name in names for suffix in ("png", "svg")}
    for name in names:
        text = "".join(ElementTree.fromstring(files[f"{name}.svg"]).itertext())
        assert all(word in text for word in ("torch", "onnx", "int8", "accuracy retention", "× original"))
        assert files[f"{name}.png"].startswith(b"\x89PNG")


def test_without_retention_there_is_nothing_to_plot(card, tmp_path):
    bare = {"disk_bytes": 1.0}
    write([card(torch=bare, onnx=bare)], tmp_path)
    assert not list(tmp_path.glob("report.accuracy-*"))
    assert "<svg" not in (tmp_path / "report.html").read_text()
