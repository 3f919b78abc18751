"""Escape text that others chose (names of models and files, commands) for terminals, files and Markdown.

Formats with a library of their own have it escape: JSON, YAML, CSV, HTML, XML. What none of them can hold, or would
hand on to a terminal, is made visible first (`printable`).
"""

from __future__ import annotations

import re

_SURROGATES = re.compile("[\ud800-\udfff]")
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufdd0-\ufdef\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e0fff"
    + "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(1, 17))
    + "]"
)
"""Controls, marks that turn the direction of text, half surrogate pairs, and what is no character: XML forbids some."""
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "{": "&#123;", "}": "&#125;"}
_INLINE = re.compile(
    r"[\\`*\[\]~$&<>|{}]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # inside a word an underscore is one
    r"|:(?=//)|(?<=www)\.|(?<=\w)@(?=\w)",  # GitHub makes links of addresses
    re.IGNORECASE,
)
_WORKFLOW_COMMAND = re.compile(r"^(?=\s*::)|(?<=#)(?=#\w*\[)")
"""Where a line becomes a command to what reads a CI job's output: GitHub's runner, Azure's agent."""
_BLOCK = re.compile(r"^(?:(\d+)(?=[.)](?:\s|$))|[-+](?=\s|$)|-(?=-)|=(?==)|#(?=#*(?:\s|$)))")
"""What begins a list, a heading or a rule at the start of a line."""


def encodable(text: str) -> str:
    """Text that UTF-8 can hold: bytes of a file's name that are none (halves of surrogate pairs) are spelled out."""
    return _SURROGATES.sub(_spelled, text)


def printable(text: str, lines: bool = False) -> str:
    r"""One line of text without controls: they are spelled out, like ``\x1b``. With ``lines``, newlines stay."""
    if lines:
        return "\n".join(map(printable, text.split("\n")))
    return _INVISIBLE.sub(_spelled, text)


def printable_line(text: str) -> str:
    r"""One printable line of output that a CI job takes for no command: ``\::error::``, ``#\#[error]``."""
    return _WORKFLOW_COMMAND.sub(r"\\", printable(text))


def markdown_text(text: str) -> str:
    """Escape text for a line of Markdown, or a cell of its tables: no HTML, links, emphasis, lists or formulas."""
    escaped = _INLINE.sub(_inline, printable(text).strip())
    return _BLOCK.sub(lambda match: f"{match[1]}\\" if match[1] else f"\\{match[0]}", escaped)


def markdown_code(text: str) -> str:
    """Text as code within a line of Markdown, or a cell of its tables."""
    text = printable(text)
    if not text.strip() or "`" in text or "|" in text:  # neither can be escaped in backticks, in a table
        return f"<code>{markdown_text(text)}</code>"
    return f"`{text}`"


def markdown_block(text: str) -> list[str]:
    """Lines of a block of code in Markdown."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return [fence, printable(text), fence]


def _spelled(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def _inline(match: re.Match[str]) -> str:
    letter = match[0]
    if letter in ":.@":
        return f"&#{ord(letter)};"
    return _ENTITIES.get(letter) or f"\\{letter}"
