"""Messages of a chat as templates take them, from the forms in which data sets have them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from compress.errors import UsageError

ANSWERS = ("output", "response", "completion", "answer", "chosen")
PROMPTS = ("instruction", "prompt", "question", "query")
DETAILS = ("input", "context")
SYSTEMS = ("system", "system_prompt")
_ROLES = {
    "human": "user", "prompter": "user",
    "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant", "bot": "assistant",
    "model": "assistant", "ai": "assistant", "function_call": "assistant",
    "function": "tool", "observation": "tool",
}  # fmt: skip
"""Other names of who speaks, ShareGPT's first of all, as templates know them."""
_EXTRAS = ("name", "tool_call_id", "reasoning_content")
"""what templates read of a message besides who says what"""

Message = dict[str, Any]


def is_chat(value: object) -> bool:
    """Whether a value is a list of messages, of OpenAI's or ShareGPT's form."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(entry, Mapping) and entry.keys() & {"role", "from"} for entry in value)


def message(entry: object, where: str) -> Message:
    """A message as templates take it, of OpenAI's or ShareGPT's form; a UsageError for what is none.

    Of content in parts the text is taken. Arguments of a call are an object, as templates write them, where OpenAI's
    form has them as a string.
    """
    if not isinstance(entry, Mapping):
        raise UsageError(f"{where}: a message is an object with a role and its content, not {type(entry).__name__}")
    role, content = entry.get("role", entry.get("from")), entry.get("content", entry.get("value"))
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        content = "\n".join(part for part in parts if isinstance(part, str))
    if not isinstance(role, str) or not isinstance(content, str | None):
        raise UsageError(
            f"{where}: a message has a role and its content (or from and value); there are {column_names(entry)}"
        )
    extras = {name: entry[name] for name in _EXTRAS if entry.get(name)}
    if isinstance(calls := entry.get("tool_calls"), list) and calls:
        extras["tool_calls"] = [_call(call) for call in calls]
    return {"role": _ROLES.get(role.lower(), role), "content": content or "", **extras}


def exchange(columns: Mapping[str, object]) -> list[object]:
    """A prompt and its answer as messages, after the system's where there is one; none where the columns aren't such.

    What is preferred (``chosen``) may be the whole chat.
    """
    answer = next((columns[name] for name in ANSWERS if columns.get(name)), None)
    prompt = next((columns[name] for name in PROMPTS if columns.get(name)), None)
    if is_chat(answer) and isinstance(answer, list) and (prompt is None or len(answer) > 1):
        return answer
    if not prompt or (answer is None and not columns.get("instruction")):
        return []
    system = next((columns[name] for name in SYSTEMS if columns.get(name)), None)
    answers = answer if isinstance(answer, list) else _spoken("assistant", answer)
    if isinstance(prompt, list):
        return [*_spoken("system", system), *prompt, *answers]
    details = next((columns[name] for name in DETAILS if isinstance(columns.get(name), str)), None)
    if isinstance(prompt, str) and isinstance(details, str) and details:
        prompt = f"{prompt}\n\n{details}"
    return [*_spoken("system", system), *_spoken("user", prompt), *answers]


def without_system(messages: Sequence[Message]) -> list[Message]:
    """The messages with the system's as the beginning of the user's first, for templates that know none."""
    system, *rest = messages
    first, *others = rest
    return [{**first, "content": f"{system['content']}\n\n{first['content']}"}, *others]


def has_system(messages: Sequence[Message]) -> bool:
    """Whether the first message is the system's, with a user's behind it."""
    return [entry["role"] for entry in messages[:2]] == ["system", "user"]


def column_names(columns: Mapping[Any, object], shown: int = 20) -> str:
    """The names of columns for an error, the first ``shown`` of them."""
    names = [" ".join(str(name).split()) for name in columns]
    return ", ".join(names[:shown]) + (", …" if len(names) > shown else "") or "none"


def _spoken(role: str, content: object) -> list[object]:
    return [] if content is None else [{"role": role, "content": content}]


def _call(call: object) -> object:
    if not isinstance(call, Mapping):
        return call
    if isinstance(function := call.get("function"), Mapping):
        return {**call, "function": _call(function)}
    if isinstance(arguments := call.get("arguments"), str):
        try:
            return {**call, "arguments": json.loads(arguments)}
        except (ValueError, RecursionError):  # a template may still write it as it is
            return call
    return call
