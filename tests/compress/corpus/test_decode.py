"""Bytes as text, piece by piece, and what is no text."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
from pathlib import Path

import pytest

from compress.corpus import decode as module
from compress.corpus.decode import decode, lines
from compress.errors import UsageError


def test_pieces_are_the_text(tmp_path: Path) -> None:
    content = "héllo 🌲 " * 300_000  # characters of 1 to 4 bytes, cut anywhere
    plain, packed, marked = tmp_path / "a.txt", tmp_path / "a.txt.gz", tmp_path / "b.txt"
    plain.write_text(content, encoding="utf-8")
    packed.write_bytes(gzip.compress(content.encode(), 1))
    marked.write_bytes(codecs.BOM_UTF8 + content.encode())
    others = [tmp_path / "a.txt.bz2", tmp_path / "a.txt.xz"]
    for path, pack in zip(others, (bz2.compress, lzma.compress), strict=True):
        path.write_bytes(pack(content.encode()))
    for path in (plain, packed, marked, *others):
        pieces = list(decode(path))
        assert "".join(pieces) == content
        assert max(map(len, pieces)) <= module.PIECE


@pytest.mark.parametrize(
    ("begin", "rest"), [(0, "aé🌲b"), (1, "é🌲b"), (2, "🌲b"), (3, "🌲b"), (4, "b"), (7, "b"), (8, "")]
)
def test_from_any_byte_on_it_begins_at_a_character(tmp_path: Path, begin: int, rest: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text("aé🌲b", encoding="utf-8")
    assert "".join(decode(path, begin)) == rest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ab\xff", r"a\.txt is no UTF-8 text \(byte 2\)"),
        (b"abc\xc3", r"no UTF-8 text \(byte 3\)"),
        (b"a" * module.PIECE + b"\xf0\x9f\x8c", rf"no UTF-8 text \(byte {module.PIECE}\)"),
        (b"ab\0c", r"is no text but binary \(a NUL, byte 2\)"),
        (b"PAR1\x15\x04\0\0", r"binary \(a NUL, byte 6\)"),
        ("text".encode("utf-16"), "is UTF-16, no UTF-8 text; convert it: iconv -f UTF-16 -t UTF-8"),
        (codecs.BOM_UTF16_BE + "text".encode("utf-16-be"), "is UTF-16"),
        ("text".encode("utf-32"), "is UTF-32"),
    ],
)
def test_what_is_no_text(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        list(decode(path))


def test_what_can_not_be_read(tmp_path: Path) -> None:
    packed = tmp_path / "a.gz"
    packed.write_bytes(gzip.compress(b"text" * 1000)[:-12])
    with pytest.raises(UsageError, match=r"a\.gz can't be unpacked"):
        list(decode(packed))
    packed.write_bytes(b"no gzip")
    with pytest.raises(UsageError, match=r"a\.gz can't be unpacked"):
        list(decode(packed))
    for name, message in (("a.xz", "can't be unpacked"), ("a.bz2", r"can't read the text .* \(Invalid data stream\)")):
        (tmp_path / name).write_bytes(b"no such thing")
        with pytest.raises(UsageError, match=message):
            list(decode(tmp_path / name))
    with pytest.raises(UsageError, match=r"can't read the text .*absent\.txt \(No such file or directory\)"):
        list(decode(tmp_path / "absent.txt"))
    with pytest.raises(UsageError, match=r"can't read the text .* \(Is a directory\)"):
        list(decode(tmp_path))


def test_lines_are_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(lines(iter(["a\nb", "c", "\n\n", "d"]), Path("x"))) == [(1, "a"), (2, "bc"), (3, ""), (4, "d")]
    monkeypatch.setattr(module, "LONGEST_LINE", 10)
    with pytest.raises(UsageError, match=r"x, line 2: longer than 10 characters"):
        list(lines(iter(["a\n", "12345", "123456"]), Path("x")))
