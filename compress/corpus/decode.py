"""Decode a file's bytes as text, piece by piece, so that a file of any size takes little memory."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, cast

from compress.errors import UsageError

PIECE = 1 << 20
"""bytes that are decoded at a time"""
LONGEST_LINE = 1 << 28
"""characters that one line, or one JSON value, may have: it has to be in memory"""
_OPENERS: Mapping[str, Callable[[Path], object]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_BYTE_ORDER_MARKS = {codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


def is_compressed(path: Path) -> bool:
    """Whether a file is compressed (gzip, bzip2, xz), by its suffix: it can only be read from its start."""
    return path.suffix.lower() in _OPENERS


def decode(path: Path, begin: int = 0) -> Iterator[str]:
    """The text of a UTF-8 file in pieces, from the byte ``begin`` (or the character after it) to its end.

    A mark of the byte order is skipped, what is compressed is unpacked. Raises UsageError for a file that can't be read
    or is no UTF-8 text, with the byte where it ends to be that.
    """
    try:
        with _open(path) as file:
            if begin:
                file.seek(begin)
            yield from _decoded(file, path, begin)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise UsageError(f"{path} can't be unpacked ({error}); compress it again, with gzip") from error
    except OSError as error:
        raise UsageError(f"can't read the text {path} ({error.strerror or error})") from error


def lines(pieces: Iterator[str], path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line, without its end; a UsageError for one too long to be in memory."""
    parts: list[str] = []
    number, size = 1, 0
    for piece in pieces:
        *ended, rest = piece.split("\n")
        for line in ended:
            yield number, "".join([*parts, line])
            number, parts, size = number + 1, [], 0
        parts.append(rest)
        size += len(rest)
        if size > LONGEST_LINE:
            raise UsageError(f"{path}, line {number}: longer than {LONGEST_LINE:,} characters; give more, shorter ones")
    if size:
        yield number, "".join(parts)


def _open(path: Path) -> BinaryIO:
    opener = _OPENERS.get(path.suffix.lower())
    return path.open("rb") if opener is None else cast(BinaryIO, opener(path))


def _decoded(file: BinaryIO, path: Path, begin: int) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    position, first = begin, True
    while block := file.read(PIECE):
        if first:
            first, skipped = False, _skipped(block, path, begin)
            position, block = position + skipped, block[skipped:]
        if (nul := block.find(b"\0")) >= 0:
            raise UsageError(f"{path} is no text but binary (a NUL, byte {position + nul}); give text, JSON or Parquet")
        yield _decode_block(decoder, block, path, position)
        position += len(block)
    _decode_block(decoder, b"", path, position, final=True)


def _skipped(block: bytes, path: Path, begin: int) -> int:
    """Number of bytes before the text: a mark of the byte order, or the rest of a character."""
    if begin:
        return next((i for i in range(min(4, len(block))) if block[i] & 0xC0 != 0x80), 0)
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if block.startswith(mark):
            raise UsageError(f"{path} is {encoding}, no UTF-8 text; convert it: iconv -f {encoding} -t UTF-8")
    return len(codecs.BOM_UTF8) if block.startswith(codecs.BOM_UTF8) else 0


def _decode_block(
    decoder: codecs.IncrementalDecoder, block: bytes, path: Path, position: int, final: bool = False
) -> str:
    pending = len(decoder.getstate()[0])
    try:
        return decoder.decode(block, final)
    except UnicodeDecodeError as error:
        place = position - pending + error.start
        raise UsageError(
            f"{path} is no UTF-8 text (byte {place}); convert it (iconv -f ENCODING -t UTF-8), or give another"
        ) from error
