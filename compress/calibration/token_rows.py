"""Tokens that a tokenizer has and an embedding has no rows for: added to the one, and the other never resized."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from compress.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_NAMED = 3


def tokens_without_rows(tokenizer: PreTrainedTokenizerBase, rows: int) -> list[str]:
    """The tokens whose numbers are those of no row, in their order."""
    if len(tokenizer) <= rows and not any(number >= rows for number in tokenizer.added_tokens_decoder):
        return []
    beyond = ((number, token) for token, number in tokenizer.get_vocab().items() if number >= rows)
    return [token for _, token in sorted(beyond)]


def rows_notice(tokenizer: PreTrainedTokenizerBase, rows: int) -> str | None:
    """One line on the tokens that have no row; None where all have one."""
    tokens = tokens_without_rows(tokenizer, rows)
    if not tokens:
        return None
    return f"the tokenizer has {_listed(tokens)} that the embedding, of {rows} rows, has none for: no text may use them"


def check_tokens(tokenizer: PreTrainedTokenizerBase, ids: Iterable[int], rows: int, origin: str) -> None:
    """Raise a ModelError for tokens of a text, which comes from ``origin``, that have no row.

    transformers fails at them too, with an index that is out of range.
    """
    if beyond := sorted({number for number in ids if number >= rows}):
        tokens = [str(token) for token in tokenizer.convert_ids_to_tokens(beyond)]
        raise ModelError(
            f"{origin} uses {_listed(tokens)} that the model's embedding, of {rows} rows, has none for; give another "
            "text, or resize the embedding (resize_token_embeddings) and train the new rows"
        )


def _listed(tokens: list[str]) -> str:
    shown = ", ".join(map(repr, tokens[:_NAMED]))
    return f"{len(tokens)} token{'' if len(tokens) == 1 else 's'} ({shown}{', …' if len(tokens) > _NAMED else ''})"
