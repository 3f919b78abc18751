"""Rows as text: columns, chats, instructions, prompts with their answers."""

from __future__ import annotations

from typing import Any

import pytest

from compress.corpus.chat import RowText
from compress.corpus.rows import Record
from compress.errors import UsageError
from tests.support.words import word_tokenizer

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'pope' %}{{ raise_exception('no role ' + m.role) }}{% endif %}"
    "<{{ m.role }}>{{ m.content }}{% endfor %}"
)
CHAT = "<user>How?<assistant>So."


def render(columns: object, template: str | None = TEMPLATE, column: str | None = None) -> str:
    tokenizer = word_tokenizer(bos_token="[CLS]")
    tokenizer.chat_template = template
    return RowText(tokenizer, column)(Record("x, line 1", columns))


HOW = {"from": "human", "value": "How?"}


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"text": "a", "messages": []}, "a"),
        ({"id": 3, "content": "a"}, "a"),
        ("a", "a"),
        ({"messages": [{"role": "user", "content": "How?"}, {"role": "assistant", "content": "So."}]}, CHAT),
        ({"conversations": [HOW, {"from": "gpt", "value": "So."}]}, CHAT),
        ({"conversation": [{"from": "system", "value": "Be."}, HOW]}, "<system>Be.<user>How?"),
        ({"messages": [{"role": "user", "content": [{"text": "How?"}, {"type": "image"}]}]}, "<user>How?"),
        ({"instruction": "How?", "input": "", "output": "So."}, CHAT),
        ({"instruction": "How?", "input": "Now.", "output": "So."}, "<user>How?\n\nNow.<assistant>So."),
        ({"instruction": "How?", "context": "Now.", "response": "So."}, "<user>How?\n\nNow.<assistant>So."),
        ({"prompt": "How?", "completion": "So."}, CHAT),
        ({"prompt": "How?", "response": "So."}, CHAT),
        (
            {"prompt": [{"role": "user", "content": "How?"}], "completion": [{"role": "assistant", "content": "So."}]},
            CHAT,
        ),
        ({"messages": []}, ""),
    ],
)
def test_through_the_template(columns: object, text: str) -> None:
    """Without the beginning of a text, which every window has by itself."""
    assert render(columns) == text


def test_without_a_template_messages_are_joined_and_that_is_told_once() -> None:
    notes: list[str] = []
    text = RowText(word_tokenizer(), notice=notes.append)
    row = Record("x", {"prompt": "How?", "completion": "So."})
    assert [text(row), text(row), text.separator] == ["How?\nSo.", "How?\nSo.", "\n\n"]
    assert notes == ["the tokenizer has no chat template: messages are joined as plain text"]


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), (None, ""), (["a", "b"], "a\n\nb"), ([{"role": "user", "content": "How?"}], "<user>How?"), ([], "")],
)
def test_a_column(value: object, text: str) -> None:
    assert render({"text": "other", "mine": value}, column="mine") == text


@pytest.mark.parametrize(
    ("columns", "column", "message"),
    [
        ({"txt": "a", "id": 1}, None, r'line 1: no string under "text" or "content".* there are txt, id'),
        ([1], None, "line 1: no string"),
        (3, None, "line 1: no string"),
        ({"text": None}, None, "no string under"),
        ({"prompt": "How?"}, None, "no string under"),
        ({"a": 1, "b": 2}, "text", "line 1: no column 'text'; there are a, b"),
        ({}, "text", "no column 'text'; there are none"),
        ({"a\n b": 1}, "text", "no column 'text'; there are a b$"),
        (dict.fromkeys(map(str, range(30))), "text", "there are 0, .*, 19, …$"),
        ({"text": 3}, "text", "column 'text' holds no text but int"),
        ({"messages": ["How?"]}, None, "a message is an object with a role and its content, not str"),
        ({"messages": [{"who": "user", "said": "How?"}]}, None, r"has a role and its content .*; there are who, said"),
        ({"messages": [{"role": "user", "content": 3}]}, None, "a message has a role and its content"),
        ({"messages": [{"role": "pope", "content": "a"}]}, None, r"the chat template can't render it \(no role pope\)"),
        ({"text": "a\ud800b"}, None, r"line 1: half a character \(a lone surrogate, \\ud800\)"),
        ({"messages": [{"role": "user", "content": "\udfff"}]}, None, "half a character"),
    ],
)  # fmt: skip
def test_rows_without_a_text(columns: Any, column: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        render(columns, column=column)
