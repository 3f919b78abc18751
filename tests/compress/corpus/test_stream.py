"""Texts as streams of pieces, from their start or from a word or a line inside them."""

from __future__ import annotations

import pytest

from compress.corpus.decode import PIECE
from compress.corpus.stream import InMemory, chained, from_next_line, from_next_word


def test_a_text_in_memory_is_cut_into_pieces() -> None:
    text = InMemory("ab " * PIECE, "the text")
    assert [len(piece) for piece in text.read()] == [PIECE] * 3
    assert "".join(text.read()) == text.text


@pytest.mark.parametrize(("share", "rest"), [(0.0, "one two three"), (0.2, "two three"), (0.7, "hree")])
def test_a_text_in_memory_is_entered_behind_a_word(share: float, rest: str) -> None:
    assert "".join(InMemory("one two three", "the text").read_from(share) or ()) == rest


def test_a_blank_line_is_between_texts_that_hold_any() -> None:
    assert list(chained(map(iter, [["", ""], ["a", "b"], [], ["", "c"]]))) == ["a", "b", "\n\n", "c"]


def test_half_a_word_or_line_is_left_out() -> None:
    assert list(from_next_word(iter(["alf of it", " all"]))) == ["of it", " all"]
    assert list(from_next_word(iter(["x" * 1001 + " y"]))) == ["x" * 1001 + " y"]
    assert list(from_next_line(iter(["half", " a\nnext", "\nlast"]))) == ["next", "\nlast"]
    assert list(from_next_line(iter(["half", " a"]))) == []
