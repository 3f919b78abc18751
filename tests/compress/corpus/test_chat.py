"""Rows as text: columns, chats, instructions, prompts with their answers."""

from __future__ import annotations

from typing import Any

import pytest

from compress.corpus.chat import RowText
from compress.corpus.decode import PIECE
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
        ({"ID": 3, " Text": "a"}, "a"),
        ({"text": ["a", "b"]}, "a\n\nb"),
        ([HOW, {"from": "gpt", "value": "So."}], CHAT),
        ({"question": "How?", "answer": "So."}, CHAT),
        ({"system_prompt": "Be.", "question": "How?", "response": "So."}, "<system>Be." + CHAT),
        ({"system": "Be.", "conversations": [HOW]}, "<system>Be.<user>How?"),
        ({"prompt": "How?", "chosen": "So.", "rejected": "No."}, CHAT),
        ({"chosen": [{"role": "user", "content": "How?"}, {"role": "assistant", "content": "So."}]}, CHAT),
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


def test_a_column_inside_of_another() -> None:
    assert render({"mine": {"own": "a"}}, column="mine.own") == "a"
    assert render({"mine.own": "b", "mine": {"own": "a"}}, column="mine.own") == "b"


def rendered(rows: list[object], template: str = TEMPLATE) -> tuple[list[str], list[str]]:
    """The texts of rows, and what is told of them."""
    notes: list[str] = []
    tokenizer = word_tokenizer(bos_token="[CLS]")
    tokenizer.chat_template = template
    records = (Record(f"x, line {i}", row) for i, row in enumerate(rows, start=1))
    return list(RowText(tokenizer, notice=notes.append).texts(records)), notes


POPE = {"messages": [{"role": "pope", "content": "a"}]}


def test_rows_that_others_make_up_for_are_left_out() -> None:
    assert rendered([{"text": None}, {"text": "a"}, {"text": ""}, {"text": None}]) == (["a"], [])
    assert rendered([POPE, {"text": "a"}, POPE, {"text": "b"}]) == (
        ["a", "b"], ["x, line 1: the chat template can't render it (no role pope); rows like it are left out"],
    )  # fmt: skip
    with pytest.raises(UsageError, match="line 1: the chat template can't render it"):
        rendered([POPE] * 2000)
    with pytest.raises(UsageError, match="line 1: no string"):
        rendered([{"text": None}, {"text": None}])
    with pytest.raises(UsageError, match="line 2: no string"):
        rendered([{"text": "a"}, {"text": 3}])


def test_a_template_without_system_messages() -> None:
    """Gemma's: the system's words begin the user's."""
    chats = [{"messages": [{"role": "system", "content": "Be."}, {"role": "user", "content": "How?"}]}] * 2
    assert rendered(chats, TEMPLATE.replace("pope", "system")) == (
        ["<user>Be.\n\nHow?"] * 2,
        ["the chat template has no system messages: each begins the user's first message"],
    )


def test_a_text_begins_once() -> None:
    """ChatGLM's template writes the two tokens that every window begins with, and no one of them is called so."""
    tokenizer = word_tokenizer("[CLS] [SEP] $A")
    tokenizer.chat_template = "[CLS][SEP]{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    assert RowText(tokenizer)(Record("x", {"prompt": "How?", "completion": "So."})) == CHAT


def test_tools_and_calls_reach_the_template() -> None:
    tokenizer = word_tokenizer()
    tokenizer.chat_template = (
        "{{ tools[0].function.name }}{% for m in messages %}<{{ m.role }}>{{ m.content }}"
        "{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% endfor %}{% endfor %}"
    )
    call = {"type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    chat = [{"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "content": "3"}]
    row = {"messages": chat, "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}
    assert RowText(tokenizer)(Record("x", row)) == 'f<assistant>{"a": 1}<tool>3'


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
        ({"mine": {"a": 1}}, "mine.b", "no column 'mine.b'; there are mine"),
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


def test_between_texts_is_a_blank_line_and_between_chats_nothing() -> None:
    tokenizer = word_tokenizer(bos_token="[CLS]")
    tokenizer.chat_template = TEMPLATE
    texts = [Record("x", {"text": "a"}), Record("x", {"text": "b" * (PIECE + 1)})]
    assert list(RowText(tokenizer).pieces(texts)) == ["a", "\n\n", "b" * PIECE, "b"]
    chats = [Record("x", [HOW]), Record("x", [HOW])]
    assert list(RowText(tokenizer).pieces(chats)) == ["<user>How?", "", "<user>How?"]


def test_a_template_that_names_the_day_gives_the_same_text_every_day() -> None:
    tokenizer = word_tokenizer()
    tokenizer.chat_template = "\n {{ strftime_now('%d %b %Y') }}{% for m in messages %}<{{ m.content }}>{% endfor %}"
    chat = {"messages": [{"role": "user", "content": "a"}]}
    assert RowText(tokenizer)(Record("x, line 1", chat)) == "\n 26 Jul 2024<a>"
