"""Special tokens around a text."""

from __future__ import annotations

import pytest

from compress.corpus.frame import Frame, token_ids
from compress.corpus.windows import WindowSize, windows
from compress.errors import ModelError
from tests.support.words import text, word_tokenizer


@pytest.mark.parametrize(
    ("template", "closed", "frame"),
    [
        (None, False, Frame()),
        (None, True, Frame()),
        ("[CLS] $A", True, Frame((1,))),
        ("[CLS] [SEP] $A", False, Frame((1, 2))),  # ChatGLM
        ("$A [SEP]", True, Frame((), (2,))),  # T5
        ("[CLS] $A [SEP]", False, Frame((1,))),  # a decoder's window is cut out of a text that goes on
        ("[CLS] $A [SEP]", True, Frame((1,), (2,))),
    ],
)
def test_frames(template: str | None, closed: bool, frame: Frame) -> None:
    assert Frame.of(word_tokenizer(template), closed) == frame
    got = windows(word_tokenizer(template), text(30), WindowSize(2, 6), closed)
    assert got.shape == (2, 6)
    assert got[:, : len(frame.prefix)].tolist() == [list(frame.prefix)] * 2
    assert got[0, len(frame.prefix)] == 3


def test_tokens_without_a_frame() -> None:
    assert token_ids(word_tokenizer("[CLS] $A [SEP]"), text(3)) == [3, 4, 5]


def test_a_tokenizer_that_fails() -> None:
    def broken(text: str, **options: object) -> None:
        raise Exception("WordLevel error: Missing [UNK] token")

    with pytest.raises(ModelError, match=r"can't read the text \(WordLevel error: Missing"):
        windows(broken, text(3), WindowSize(1, 2))
