"""The text of a row: a column, a chat, an instruction or a prompt with its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from compress.corpus.chat_template import RefusedChatError, render_chat
from compress.corpus.decode import PIECE
from compress.corpus.frame import Frame
from compress.corpus.messages import (
    ANSWERS,
    DETAILS,
    PROMPTS,
    SYSTEMS,
    Message,
    column_names,
    exchange,
    has_system,
    is_chat,
    message,
    without_system,
)
from compress.corpus.rows import Record
from compress.errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TEXT = ("text", "content")
_CHAT = ("messages", "conversations", "conversation")
_TOOLS = "tools"
_TODAY = "26 Jul 2024"
"""the day for templates that name it, so that a text is the same every day: the one in Llama 3.1's template"""
_PATIENCE = 1000
"""rows without a text that are read before the first that has one"""

COLUMNS = (*_TEXT, *_CHAT, _TOOLS, *PROMPTS, *DETAILS, *SYSTEMS, *ANSWERS)
"""Columns that are read where no one is named, in whichever case they are written."""


class UnusableRowError(UsageError):
    """A row that others make up for: its text is null."""


class UnrenderedRowError(UnusableRowError):
    """A row that the chat template doesn't render."""


@dataclass
class RowText:
    """Renders rows as text: the ``column`` that is named, or what the row's columns are known for.

    A column inside of another is named with a dot. Chats go through the tokenizer's chat template; without one their
    messages are joined. ``notice`` is told what a user should know, each thing once.
    """

    tokenizer: PreTrainedTokenizerBase | None = None
    column: str | None = None
    notice: Callable[[str], None] = field(default=lambda _: None)
    separator: str = "\n\n"
    """what stands between two texts; nothing between chats that a template has ended"""
    _noticed: set[str] = field(default_factory=set)

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

    def pieces(self, rows: Iterable[Record]) -> Iterator[str]:
        """The rows' `texts` in pieces, with what separates them between."""
        is_first = True
        for text in self.texts(rows):
            if not is_first:
                yield self.separator
            is_first = False
            yield from (text[begin : begin + PIECE] for begin in range(0, len(text), PIECE))

    def texts(self, rows: Iterable[Record]) -> Iterator[str]:
        """The texts of rows, but for those that are empty or null, or that the chat template doesn't render.

        Raises UsageError for any other without a text, and where none of many has one.
        """
        unusable: list[UnusableRowError] = []
        rendered = False
        for row in rows:
            try:
                text = self(row)
            except UnusableRowError as error:
                unusable.append(error)
                if rendered:
                    self._tell_of(unusable)
                elif len(unusable) > _PATIENCE:
                    break
                continue
            if text:
                rendered = True
                self._tell_of(unusable)
                yield text
        if not rendered and unusable:
            raise unusable[0]

    def _tell_of(self, unusable: list[UnusableRowError]) -> None:
        """Tell of the first row that a template doesn't render, and forget them."""
        if error := next((error for error in unusable if isinstance(error, UnrenderedRowError)), None):
            self._notice(f"{error}; rows like it are left out", key="unrendered")
        unusable.clear()

    def _rendered(self, row: Record) -> str:
        if isinstance(row.value, str) and self.column is None:
            return row.value
        if is_chat(row.value) and isinstance(row.value, list) and self.column is None:
            return self._chat(row, row.value)
        if not isinstance(row.value, Mapping):
            raise UsageError(f'{row.where}: no string under "text" or "content": no object with columns')
        names = column_names(row.value if row.columns is None else dict.fromkeys(row.columns))
        if self.column is not None:
            return self._column(row, row.value, self.column, names)
        columns = {str(name).strip().lower(): value for name, value in row.value.items()}
        for name in _TEXT:
            if isinstance(value := columns.get(name), str):
                return value
            if isinstance(value, list) and value and all(isinstance(entry, str) for entry in value):
                return "\n\n".join(value)
        for name in _CHAT:
            if isinstance(chat := columns.get(name), list):
                return self._chat(row, chat, columns)
        if messages := exchange(columns):
            return self._chat(row, messages, columns)
        is_null = any(columns[name] is None for name in COLUMNS if name in columns)
        raise (UnusableRowError if is_null else UsageError)(
            f'{row.where}: no string under "text" or "content", no chat ("messages", "conversations"), and no '
            f'"instruction" or "prompt" with its answer; name a column as FILE:COLUMN, there are {names}'
        )

    def _column(self, row: Record, columns: Mapping[str, object], name: str, names: str) -> str:
        value: object = columns
        for part in [name] if name in columns else name.split("."):
            if not isinstance(value, Mapping) or part not in value:
                raise UsageError(f"{row.where}: no column {name!r}; there are {names}")
            value = value[part]
        if value is None or isinstance(value, str):
            return value or ""
        if isinstance(value, list):
            is_text = all(isinstance(entry, str) for entry in value)
            return "\n\n".join(value) if is_text else self._chat(row, value)
        raise UsageError(f"{row.where}: column {name!r} holds no text but {type(value).__name__}")

    def _chat(self, row: Record, entries: Sequence[object], columns: Mapping[str, object] | None = None) -> str:
        messages = [message(entry, row.where) for entry in entries]
        if not messages:
            return ""
        system = columns.get("system") if columns else None
        if isinstance(system, str) and system and messages[0]["role"] != "system":  # ShareGPT's, beside the chat
            messages = [{"role": "system", "content": system}, *messages]
        if self.tokenizer is None or not self.tokenizer.chat_template:
            self._notice("the tokenizer has no chat template: messages are joined as plain text")
            return "\n".join(entry["content"] for entry in messages if entry["content"])
        tools = columns.get(_TOOLS) if columns else None
        try:
            text = self._apply(self.tokenizer, messages, tools if isinstance(tools, list) and tools else None)
        except RefusedChatError as error:
            raise UnrenderedRowError(f"{row.where}: the chat template can't render it ({error})") from error
        self.separator = ""
        return text.removeprefix(self._begin)

    def _apply(self, tokenizer: PreTrainedTokenizerBase, messages: list[Message], tools: list[Any] | None) -> str:
        """The chat by the template; the system's words as the user's, where it knows no system."""
        try:
            return render_chat(tokenizer, messages, tools=tools, today=_TODAY)
        except RefusedChatError:
            if not has_system(messages):
                raise
            text = render_chat(tokenizer, without_system(messages), tools=tools, today=_TODAY)
            self._notice("the chat template has no system messages: each begins the user's first message")
            return text

    @cached_property
    def _begin(self) -> str:
        """What a template begins a chat with, and every window has by itself."""
        assert self.tokenizer is not None
        prefix = self.tokenizer.convert_ids_to_tokens(list(Frame.of(self.tokenizer, closed=False).prefix))
        return "".join(prefix) or str(self.tokenizer.bos_token or "")

    def _notice(self, text: str, key: str | None = None) -> None:
        if (key or text) not in self._noticed:
            self._noticed.add(key or text)
            self.notice(text)
