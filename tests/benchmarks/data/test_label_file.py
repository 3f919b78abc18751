"""Lines of labeled text, whatever their fields mean."""

import pytest

from compress.benchmarks.data.label_file import LabeledLine, read_labeled_lines
from compress.errors import UsageError


@pytest.fixture
def written(tmp_path):
    def write(text, name="labels.tsv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_table_and_json_lines_say_the_same(written):
    table = read_labeled_lines(written('text\ttext_pair\tlabel\n\na "fox\tb\t1\r\nc\td\t2\n'), ("text", "text2"))
    lines = read_labeled_lines(
        written('{"text": "a \\"fox", "text_pair": "b", "label": "1"}\n\n{"text": "c", "text2": "d", "label": "2"}\n',
                "labels.jsonl"), ("text",)
    )  # fmt: skip
    fields = [{"text": 'a "fox', "text2": "b", "label": "1"}, {"text": "c", "text2": "d", "label": "2"}]
    assert [line.fields for line in table] == [line.fields for line in lines] == fields
    assert [line.where.rpartition(", ")[2] for line in table] == ["line 3", "line 4"]
    assert [line.where.rpartition(", ")[2] for line in lines] == ["line 1", "line 3"]


def test_a_field_is_read_by_what_it_has_to_hold():
    line = LabeledLine("here, line 1", {"text": "a fox", "score": "2.5", "count": 3, "empty": " ", "far": "1e999"})
    assert (line.text("text"), line.number("score"), line.number("count")) == ("a fox", 2.5, 3.0)
    for read, name, message in (
        (line.text, "empty", "here, line 1: empty holds no text"),
        (line.text, "count", "here, line 1: count holds no text"),
        (line.number, "text", "here, line 1: text 'a fox' is no number"),
        (line.number, "far", "here, line 1: far '1e999' is no number"),
        (line.field, "label", "here, line 1: no label; there are text, score, count, empty, far"),
    ):
        with pytest.raises(UsageError, match=message):
            read(name)


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("", "labels.tsv", "labels.tsv holds no labeled text"),
        ("\n\n", "labels.jsonl", "labels.jsonl holds no labeled text"),
        ("text\na\n", "labels.tsv", "has no column label in its first line, but 'text'; needed are text, label, with"),
        ("text\tlabel\na\n", "labels.tsv", "line 2: 1 columns, but the first line names 2"),
        ('{"text": "a"}', "labels.jsonl", "line 1: no label; there are text"),
        ("{}", "labels.jsonl", "line 1: no text; there are no fields"),
    ],
)
def test_what_is_missing_is_told_with_its_place(written, text, name, message):
    with pytest.raises(UsageError, match=message):
        read_labeled_lines(written(text, name), ("text", "label"))
