"""Messages of a chat, from every form in which data sets have them."""

from __future__ import annotations

import pytest

from compress.corpus.messages import column_names, exchange, has_system, is_chat, message, without_system

HOW, SO = {"role": "user", "content": "How?"}, {"role": "assistant", "content": "So."}


@pytest.mark.parametrize(
    ("name", "role"),
    [("human", "user"), ("Human", "user"), ("gpt", "assistant"), ("function_call", "assistant"), ("pope", "pope")],
)
def test_who_speaks(name: str, role: str) -> None:
    assert message({"from": name, "value": "a"}, "x") == {"role": role, "content": "a"}


def test_what_belongs_to_a_message() -> None:
    calls = [{"function": {"name": "f", "arguments": '{"a": 1}'}}, {"name": "g", "arguments": "{"}, 3]
    entry = {"role": "assistant", "content": None, "tool_calls": calls, "name": None, "reasoning_content": "Hm."}
    assert message(entry, "x") == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}, *calls[1:]],
        "reasoning_content": "Hm.",
    }
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, "b"]
    assert message({"role": "user", "content": parts}, "x")["content"] == "a\nb"


def test_what_is_a_chat() -> None:
    assert is_chat([HOW])
    assert is_chat([{"from": "human", "value": "a"}])
    assert not any(map(is_chat, ([], ["a"], [HOW, "a"], HOW, "a", None)))


@pytest.mark.parametrize(
    ("columns", "messages"),
    [
        ({"prompt": "How?", "completion": "So."}, [HOW, SO]),
        ({"prompt": [HOW], "chosen": [SO], "rejected": [HOW]}, [HOW, SO]),
        ({"prompt": "How?", "chosen": [HOW, SO]}, [HOW, SO]),
        ({"instruction": "How?", "output": None}, [HOW]),
        ({"question": "How?"}, []),
        ({"chosen": "So."}, []),
        ({"input": "a", "output": "b"}, []),
    ],
)
def test_a_prompt_with_its_answer(columns: dict[str, object], messages: list[object]) -> None:
    assert exchange(columns) == messages


def test_the_system_as_the_user() -> None:
    system = {"role": "system", "content": "Be."}
    assert has_system([system, HOW])
    assert not has_system([HOW, SO])
    assert not has_system([system])
    assert without_system([system, HOW, SO]) == [{"role": "user", "content": "Be.\n\nHow?"}, SO]


def test_column_names() -> None:
    assert [column_names({}), column_names({"a\n b": 1}), column_names(dict.fromkeys("abc"), 2)] == [
        "none", "a b", "a, b, …",
    ]  # fmt: skip
