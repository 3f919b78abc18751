"""Open what a user names as a text: a file, a folder of them, a data set of the hub, a column of either."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from compress.corpus.chat import RowText
from compress.corpus.hub import SCHEME, HubDataset
from compress.corpus.stream import TextSource, chained
from compress.corpus.text_file import PLAIN, WITH_COLUMNS, PlainFile, RowFile, suffix
from compress.errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_IN_FOLDERS = (*PLAIN, *WITH_COLUMNS)
_DESCRIPTIONS = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
"""files in which ``datasets`` describes a folder"""
_ARCHIVED = "__MACOSX"
"""where macOS's archives have files' attributes, under the files' names"""


@dataclass(frozen=True)
class Folder(TextSource):
    """A folder of texts: every file of a known suffix in it and below that isn't hidden, by name."""

    path: Path
    files: Sequence[TextSource]
    sizes: Sequence[int]

    @property
    def name(self) -> str:  # type: ignore[override]
        """The folder's name."""
        return self.path.resolve().name

    def read(self) -> Iterator[str]:
        """The files' texts, a blank line apart."""
        return chained(file.read() for file in self.files)

    def read_from(self, share: float) -> Iterator[str] | None:
        """The text from the file at a place on, and from there inside it."""
        place = share * sum(self.sizes)
        for i, (file, size) in enumerate(zip(self.files, self.sizes, strict=True)):
            if place < size:
                begin = file.read_from(place / size) or file.read()
                return chained(chain([begin], (later.read() for later in self.files[i + 1 :])))
            place -= size
        return None


@dataclass(frozen=True)
class HubText(TextSource):
    """A data set of the hub, read from its start."""

    dataset: HubDataset
    render: RowText

    @property
    def name(self) -> str:  # type: ignore[override]
        """The data set's address."""
        return self.dataset.address

    def read(self) -> Iterator[str]:
        """The rows' texts, a blank line apart."""
        return self.render.pieces(self.dataset.rows())


def open_source(
    address: str | Path,
    tokenizer: PreTrainedTokenizerBase | None = None,
    notice: Callable[[str], None] | None = None,
) -> TextSource:
    """Open a text by what a user writes: ``FILE``, ``FOLDER`` or ``hf://datasets/…``, each with ``:COLUMN`` or without.

    A colon is part of the name where there is such a file. Chats are rendered by the ``tokenizer``'s template;
    ``notice`` is told what a user should know. Raises UsageError for what can't be read.
    """
    text, column = os.fspath(address), None
    if not text:
        raise UsageError("the name of a text is empty; write FILE, FOLDER or hf://datasets/OWNER/NAME")
    if not Path(text).exists() and ":" in text.removeprefix(SCHEME):
        text, _, column = text.rpartition(":")
        if not column:
            raise UsageError(f"{address} names no column after its colon; write FILE:COLUMN")
    render = RowText(tokenizer, column, notice or (lambda _: None))
    if text.startswith(SCHEME):
        return HubText(HubDataset.parse(text), render)
    return _open(Path(text), render)


def read_text(address: str | Path) -> str:
    """The text of a file in memory; a UsageError where it holds none."""
    text = "".join(open_source(address).read())
    if not text.strip():
        raise UsageError(f"{address} holds no text")
    return text


def _open(path: Path, render: RowText) -> TextSource:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if _is_text(file, path, render.column) and file.is_file())
        if not files:
            raise UsageError(f"{path} holds no texts ({', '.join(s.removeprefix('.') for s in _IN_FOLDERS)})")
        return Folder(path, [_open(file, render) for file in files], [file.stat().st_size for file in files])
    if suffix(path) in WITH_COLUMNS:
        return RowFile(path, render)
    if render.column is not None:
        if not path.exists():
            raise UsageError(f"can't read the text {path} (No such file or directory)")
        raise UsageError(f"{path} is plain text, which has no column {render.column!r}; remove the colon and the name")
    return PlainFile(path)


def _is_text(file: Path, folder: Path, column: str | None) -> bool:
    """Whether a file in a folder is one of its texts, and has columns where one is named."""
    parts = file.relative_to(folder).parts
    if any(part.startswith(".") for part in parts) or _ARCHIVED in parts or file.name in _DESCRIPTIONS:
        return False
    return suffix(file) in (WITH_COLUMNS if column else _IN_FOLDERS)
