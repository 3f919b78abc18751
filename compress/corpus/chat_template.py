"""Render a chat by the template of a model's tokenizer: a stranger's program, in a sandbox and within limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from compress.errors import ModelError
from compress.modeling.quiet import first_line
from compress.system.limits import limited

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from compress.corpus.messages import Message

_SECONDS, _BYTES, _CHARACTERS = 10.0, 1 << 30, 1 << 26
"""What one chat may take, and how long its text may be: templates take milliseconds and kilobytes."""

_DAY = "{{% macro strftime_now(format) %}}{today}{{% endmacro %}}\n"
"""what gives a template the day; its line ends with it, as transformers trims blocks"""


class RefusedChatError(Exception):
    """A chat that a template doesn't render, with the template's reason."""


def render_chat(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], today: str | None = None, **options: Any
) -> str:
    """The text of a chat; ``options`` are those of ``apply_chat_template``, ``today`` is what a template calls the day.

    Raises RefusedChatError where the template can't render it, ModelError where it takes more than any template needs.
    """
    try:
        with limited(_SECONDS, _BYTES):
            if today is not None:
                template = tokenizer.get_chat_template(tools=options.get("tools"))
                options["chat_template"] = _DAY.format(today=today) + template
            text = str(tokenizer.apply_chat_template(list(messages), tokenize=False, **options))
    except (TimeoutError, MemoryError):
        text = None
    except Exception as error:  # a template raises whatever it was written to
        raise RefusedChatError(first_line(error)) from error
    if text is None or len(text) > _CHARACTERS:
        raise ModelError(
            f"the chat template of {tokenizer.name_or_path} takes more than {_SECONDS:.0f} s, {_BYTES >> 30} GiB or "
            f"{_CHARACTERS:,} characters for one chat; mend the template, or give plain text"
        )
    return text
