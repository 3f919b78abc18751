"""Verdicts as CI systems read them."""

from xml.etree import ElementTree

import pytest

from compress.benchmarks.gate.judge import judge
from compress.benchmarks.gate.junit import write_junit
from compress.benchmarks.gate.requirement import parse_requirements
from compress.errors import UsageError
from tests.support.cards import BASE, INT8


def test_junit(card, tmp_path):
    verdicts = judge(
        card(torch=BASE, onnx=BASE, int8=INT8, **{'a"<b': INT8}),
        parse_requirements(["bytes<=0.3x, retention>=0.96, decode_tps>=21"]),
    )
    write_junit(verdicts, tmp_path / "gate.xml")
    root = ElementTree.parse(tmp_path / "gate.xml").getroot()
    assert root.attrib == {"name": "compress gate", "tests": "6", "failures": "2", "errors": "0", "skipped": "2"}
    assert [suite.get("name") for suite in root] == ["tiny int8", 'tiny a"<b']
    cases = list(root[1])
    assert [(case.get("classname"), case.get("name")) for case in cases] == [
        ('a"<b', "bytes<=0.3x"), ('a"<b', "retention>=0.96"), ('a"<b', "decode_tps>=21")
    ]  # fmt: skip
    assert [[child.tag for child in case] for case in cases] == [[], ["skipped"], ["failure"]]
    assert cases[2][0].get("message") == "20.0 ± 0.3 tokens/s: missed by 4.76%"
    write_junit(verdicts, tmp_path / "no" / "gate.xml")  # a folder that is made
    assert (tmp_path / "no" / "gate.xml").read_bytes() == (tmp_path / "gate.xml").read_bytes()
    with pytest.raises(UsageError, match="can't write"):
        write_junit(verdicts, tmp_path / "gate.xml" / "no" / "gate.xml")


def test_a_file_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(UsageError, match=r"report\.json is no JUnit XML, so it is not replaced; name another file"):
        write_junit([], tmp_path / "report.json")
    assert (tmp_path / "report.json").read_text() == "{}"
    for content in ("", "<testsuites/>"):
        (tmp_path / "gate.xml").write_text(content)
        write_junit([], tmp_path / "gate.xml")
