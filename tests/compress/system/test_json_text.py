"""JSON that can't be read, or not be written again, is refused with the reason."""

import re

import pytest

from compress.system.json_text import parse_json


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b"\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (b'"\xed\xa0\x80"', "'utf-8' codec can't decode byte 0xed in position 1: invalid continuation byte"),
        (b"[" * 100_000, "nested too deep"),
        (rb'["\uD800"]', "half of a surrogate pair, which is no text"),
        (rb'{"\udc00 \ud800": 1}', "half of a surrogate pair, which is no text"),
        (b'{"a": {"b": 1, "b": 2}}', "'b' is in it twice"),
        (b"9" * 5000, "Exceeds the limit (4300 digits) for integer string conversion"),
    ],
)
def test_refused(text, reason):
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}"):
        parse_json(text, unique=True)


def test_read():
    assert parse_json(rb'{"a": "\ud83d\ude00", "b": [1, 2.5, null]}') == {"a": "\U0001f600", "b": [1, 2.5, None]}
    assert parse_json(b'{"a": 1, "a": 2}') == {"a": 2}
    assert parse_json(rb'"\\ud800"') == r"\ud800"
