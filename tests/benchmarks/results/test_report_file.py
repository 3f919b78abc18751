"""Reading reports back, one or several, and what is said of files that are none."""

import json
import re
from pathlib import Path

import jsonschema
import pytest

from compress.benchmarks.results.report_file import MergedReport, read_card, read_cards, report_text, schema
from compress.errors import UsageError

PUBLISHED = Path(__file__).parents[3] / "docs" / "report.schema.json"
ROWS = {"torch": {"kl": (0.0, 0.0)}, "onnx": {"kl": (0.0, 0.0)}, "int8": {"kl": (0.1, 0.2)}}


def test_cards_come_back_from_their_files(card, tmp_path):
    first, other = card(**ROWS), card(model="other", **ROWS)
    (tmp_path / "report.json").write_text(report_text([first]))
    assert read_cards(tmp_path) == read_cards(tmp_path / "report.json") == [first]
    both = tmp_path / "both.json"
    both.write_text(report_text([first, other]))
    assert read_cards(both) == [first, other]
    assert read_card(tmp_path) == first
    with pytest.raises(UsageError, match="both.json holds the scorecards of 2 runs"):
        read_card(both)


def test_rounds_of_older_reports_are_those_of_a_single_launch(card, tmp_path):
    text = report_text([card(**ROWS | {"int8": {"decode_tps": [1.0, 2.0]}})])
    old = re.sub(r'"launches": \[\s*\[\s*1.0\s*\],\s*\[\s*2.0\s*\]\s*\]', '"rounds": [1.0, 2.0]', text)
    old = old.replace('"launches": []', '"rounds": []')
    assert old.count("launches") == 1  # of the settings
    (tmp_path / "report.json").write_text(old)
    read = read_card(tmp_path)
    assert read.row("int8").measures["decode_tps"].launches == ((1.0, 2.0),)
    assert read.original.measures == card(**ROWS).original.measures
    (tmp_path / "report.json").write_text(old.replace("[1.0, 2.0]", '["1", 2.0]'))
    with pytest.raises(UsageError, match="rows.2.measures.decode_tps.launches.0.0: Input should be a valid number"):
        read_card(tmp_path)
    (tmp_path / "report.json").write_text(text.replace('"launches": []', '"launches": [[]]', 1))
    with pytest.raises(UsageError, match="says kl of torch was measured in a launch without rounds, which no measure"):
        read_card(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "can't read .*report.json \\(No such file or directory\\)"),
        ("{", "is no JSON \\(Expecting property name"),
        (b"\xff\xfe\x00", "is no JSON"),
        ("[1, 2]", "is no report of compress: Input should be"),
        ('{"model": "x"}', "is no report of compress: kind: Field required"),
        ('{"cards": [{"model": "x"}]}', "is no report of compress: cards.0.kind: Field required"),
        ("[" * 100_000, "is no JSON \\(nested too deep\\); name a report.json that `compress` wrote"),
        ('{"a": 1, "a": 2}', "is no JSON \\('a' is in it twice\\); name a report.json that `compress` wrote"),
        ("", "is no JSON \\(Expecting value"),
        ("null", "is no report of compress: Input should be an object"),
        ('{"cards": []}', "holds no run; name a report.json that `compress` wrote"),
        ('{"schema_version": 0, "model": "x"}', "has schema version 0, and this compress reads 1"),
        ('{"schema_version": 2, "model": "x"}', "has schema version 2, and this compress reads 1"),
    ],
)
def test_other_files_are_told_in_one_line(tmp_path, content, message):
    if content is not None:
        (tmp_path / "report.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=message) as refused:
        read_cards(tmp_path)
    assert "\n" not in str(refused.value)


def test_half_of_a_surrogate_pair_is_refused(card, tmp_path):
    """It could not be written again."""
    text = report_text([card(**ROWS)])
    for old in ('"tiny', '"created": "2026', '"python', '"int8'):
        assert old in text
        (tmp_path / "report.json").write_text(text.replace(old, old + r"\ud83d", 1))
        with pytest.raises(UsageError, match="is no JSON \\(half of a surrogate pair, which is no text\\); name a"):
            read_card(tmp_path)


def test_what_no_measurement_gives_is_refused(card, tmp_path):
    for name, text in {"nan": "NaN", "negative": "-0.5"}.items():
        (tmp_path / name).write_text(report_text([card(**ROWS | {"int8": {"kl": 0.25}})]).replace("0.25", text))
    with pytest.raises(UsageError, match="nan says kl of int8 is nan, which no measurement gives; score its variants"):
        read_cards(tmp_path / "nan")
    with pytest.raises(UsageError, match="negative says kl of int8 is -0.5, which no measurement gives"):
        read_cards(tmp_path / "negative")


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ('"value": 0.25', '"value": "0.25"', "rows.2.measures.kl.value: Input should be a valid number"),
        ('"value": 0.25', '"value": true', "rows.2.measures.kl.value: Input should be a valid number"),
        ('"value": 0.25', '"value": null', "rows.2.measures.kl.value: Input should be a valid number"),
        ('"threads": 2', '"threads": "2"', "threads: Input should be a valid integer"),
        ('"threads": 2', '"threads": 2.5', "threads: Input should be a valid integer"),
        ('"precision": 0.03', '"precision": Infinity', "settings.precision: Input should be a finite number"),
        ('"others": 0.0', '"others": false', "others: Input should be a valid number"),
        ('"unchanged": false', '"unchanged": "no"', "rows.0.unchanged: Input should be a valid boolean"),
    ],
)
def test_numbers_are_numbers(card, tmp_path, old, new, where):
    text = report_text([card(**ROWS | {"int8": {"kl": 0.25}})])
    assert old in text
    (tmp_path / "report.json").write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError, match=f"is no report of compress: {where}"):
        read_card(tmp_path)


def test_a_file_beyond_all_reports_is_not_read(tmp_path):
    with (tmp_path / "report.json").open("wb") as file:
        file.truncate(300 << 20)  # takes no space
    with pytest.raises(UsageError, match="report.json is larger than 256 MiB, more than a report is; name a report"):
        read_card(tmp_path)


def test_the_published_schema_is_current():
    """Write it anew with: python -m tests.benchmarks.results.test_report_file"""
    assert PUBLISHED.read_text() == schema()


def test_the_published_schema_describes_what_is_written(card):
    validator = jsonschema.Draft202012Validator(json.loads(schema()))
    validator.check_schema(json.loads(schema()))
    single = json.loads(card(**ROWS).model_dump_json())
    validator.validate(single)
    validator.validate(json.loads(MergedReport(cards=(card(**ROWS),)).model_dump_json()))
    assert not validator.is_valid(single | {"rows": [{"name": "x"}]})


if __name__ == "__main__":
    PUBLISHED.write_text(schema())
