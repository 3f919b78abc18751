"""Pictures as files."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from compress.benchmarks.report.base import write
from tests.support.cards import ONNX, QUANTIZED, TORCH


@pytest.mark.parametrize("name", ["report.accuracy-size.svg", "report.accuracy-speed.svg"])
def test_plots_name_what_they_show(card, tmp_path: Path, name):
    write([card(torch=TORCH, onnx=ONNX, int8=QUANTIZED)], tmp_path)
    text = "".join(ElementTree.parse(tmp_path / name).getroot().itertext())
    assert all(word in text for word in ("torch", "onnx", "int8", "accuracy retention", "× original"))
    assert (tmp_path / name).with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_without_retention_there_is_nothing_to_plot(card, tmp_path):
    bare = {"disk_bytes": 1.0}
    write([card(torch=bare, onnx=bare)], tmp_path)
    assert not list(tmp_path.glob("report.accuracy-*"))
    assert "<svg" not in (tmp_path / "report.html").read_text()
