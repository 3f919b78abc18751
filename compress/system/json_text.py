"""Parse JSON of strangers: what can't be read, or not be written again, is a ValueError with the reason."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
"""An escape for half of a surrogate pair: UTF-8 itself has none."""


def parse_json(text: bytes, unique: bool = False) -> Any:
    """The value of a JSON text; a ValueError where there is none, or half a character is in it.

    ``unique`` refuses a key that comes twice as well: only one of the two would count, and another reader may take the
    other one.
    """
    try:
        value = json.loads(text.decode(), object_pairs_hook=_unique_keys if unique else None)
        if _HALF.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deep") from None
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair, which is no text") from None
    return value


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    counts = Counter(key for key, _ in pairs)
    if twice := next((key for key, count in counts.items() if count > 1), None):
        raise ValueError(f"{twice!r} is in it twice")
    return dict(pairs)
