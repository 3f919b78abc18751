"""The text of a row: a column, a chat, an instruction or a prompt with its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from compress.corpus.rows import Record
from compress.errors import UsageError
from compress.modeling.quiet import first_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TEXT = ("text", "content")
_CHAT = ("messages", "conversations", "conversation")
_ANSWERS = ("output", "response", "completion", "answer")
_ROLES = {
    "human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant",
    "function": "tool", "observation": "tool",
}  # fmt: skip
"""ShareGPT's names of who speaks, as templates know them."""

_SHOWN = 20
"""columns that an error names"""

COLUMNS = (*_TEXT, *_CHAT, "instruction", "input", "context", "prompt", *_ANSWERS)
"""Columns that are read where no one is named."""

Message = dict[str, str]


@dataclass
class RowText:
    """Renders rows as text: the ``column`` that is named, or what the row's columns are known for.

    Chats go through the tokenizer's chat template; without one their messages are joined, which ``notice`` is told
    once.
    """

    tokenizer: PreTrainedTokenizerBase | None = None
    column: str | None = None
    notice: Callable[[str], None] = field(default=lambda _: None)
    separator: str = "\n\n"
    """what stands between two texts; nothing between chats that a template has ended"""
    _is_noticed: bool = False

    def __call__(self, row: Record) -> str:
        """The text of a row; a UsageError for one that has none, with the columns that there are."""
        text = self._rendered(row)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"{row.where}: half a character (a lone surrogate, \\u{ord(text[error.start]):04x})"
            ) from error
        return text

    def _rendered(self, row: Record) -> str:
        if isinstance(row.value, str) and self.column is None:
            return row.value
        if not isinstance(row.value, Mapping):
            raise UsageError(f'{row.where}: no string under "text" or "content": no object with columns')
        columns = row.value
        if self.column is not None:
            if self.column not in columns:
                raise UsageError(f"{row.where}: no column {self.column!r}; there are {_names(columns)}")
            return self._column(row, self.column, columns[self.column])
        for name in _TEXT:
            if isinstance(columns.get(name), str):
                return str(columns[name])
        for name in _CHAT:
            if isinstance(columns.get(name), list):
                return self._chat(row, columns[name])
        if messages := _exchange(columns):
            return self._chat(row, messages)
        raise UsageError(
            f'{row.where}: no string under "text" or "content", no chat ("messages", "conversations"), and no '
            f'"instruction" or "prompt" with its answer; name a column as FILE:COLUMN, there are {_names(columns)}'
        )

    def _column(self, row: Record, name: str, value: object) -> str:
        if value is None or isinstance(value, str):
            return value or ""
        if isinstance(value, list):
            is_text = all(isinstance(entry, str) for entry in value)
            return "\n\n".join(value) if is_text else self._chat(row, value)
        raise UsageError(f"{row.where}: column {name!r} holds no text but {type(value).__name__}")

    def _chat(self, row: Record, entries: Sequence[object]) -> str:
        messages = [_message(entry, row.where) for entry in entries]
        if not messages:
            return ""
        if self.tokenizer is None or not self.tokenizer.chat_template:
            if not self._is_noticed:
                self._is_noticed = True
                self.notice("the tokenizer has no chat template: messages are joined as plain text")
            return "\n".join(message["content"] for message in messages if message["content"])
        try:
            text = str(self.tokenizer.apply_chat_template(messages, tokenize=False))
        except Exception as error:  # a template raises whatever it was written to
            raise UsageError(f"{row.where}: the chat template can't render it ({first_line(error)})") from error
        self.separator = ""
        begin = self.tokenizer.bos_token  # a window begins with it by itself
        return text.removeprefix(begin) if isinstance(begin, str) else text


def _exchange(columns: Mapping[str, object]) -> list[object]:
    """An instruction or a prompt and its answer as messages; none where the columns aren't such."""
    answer = next((columns[name] for name in _ANSWERS if columns.get(name)), None)
    prompt = columns.get("instruction") or columns.get("prompt")
    if not prompt or (answer is None and not columns.get("instruction")):
        return []
    if isinstance(prompt, list):
        return [*prompt, *(answer if isinstance(answer, list) else _spoken("assistant", answer))]
    details = columns.get("input") or columns.get("context")
    if isinstance(prompt, str) and isinstance(details, str):
        prompt = f"{prompt}\n\n{details}"
    answers = answer if isinstance(answer, list) else _spoken("assistant", answer)
    return [*_spoken("user", prompt), *answers]


def _spoken(role: str, content: object) -> list[object]:
    return [] if content is None else [{"role": role, "content": content}]


def _message(entry: object, where: str) -> Message:
    """A message as templates take it, of OpenAI's or ShareGPT's form."""
    if not isinstance(entry, Mapping):
        raise UsageError(f"{where}: a message is an object with a role and its content, not {type(entry).__name__}")
    role, content = entry.get("role", entry.get("from")), entry.get("content", entry.get("value"))
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        content = "\n".join(part for part in parts if isinstance(part, str))
    if not isinstance(role, str) or not isinstance(content, str | None):
        raise UsageError(
            f"{where}: a message has a role and its content (or from and value); there are {_names(entry)}"
        )
    calls = {name: entry[name] for name in ("tool_calls", "name", "tool_call_id") if entry.get(name)}
    return {"role": _ROLES.get(role, role), "content": content or "", **calls}


def _names(columns: Mapping[str, object]) -> str:
    names = [" ".join(str(name).split()) for name in columns]
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "") or "none"
