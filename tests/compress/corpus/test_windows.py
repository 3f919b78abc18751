"""Windows of tokens: where they are in a text, and how they begin and end."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from compress.corpus.source import open_source
from compress.corpus.windows import WindowSize, tokenize, windows
from compress.errors import UsageError
from tests.support.words import WORDS, text, word_tokenizer

ROOT = Path(__file__).parents[3]
BERT = "[CLS] $A [SEP]"


def test_windows_are_evenly_spread() -> None:
    assert windows(word_tokenizer(), text(50), WindowSize(4, 10)).tolist() == [
        list(range(3 + start, 13 + start)) for start in (0, 10, 20, 30)
    ]
    assert windows(word_tokenizer(), text(60), WindowSize(3, 4))[:, 0].tolist() == [3, 21, 39]


def test_windows_never_overlap_even_when_they_fill_the_text() -> None:
    assert windows(word_tokenizer(), text(40), WindowSize(4, 10)).flatten().tolist() == list(range(3, 43))


def test_windows_of_an_encoder_are_framed() -> None:
    got = windows(word_tokenizer(BERT), text(30), WindowSize(2, 5), closed=True)
    assert got.dtype == torch.int64
    assert got.tolist() == [[1, 3, 4, 5, 2], [1, 16, 17, 18, 2]]


def test_windows_of_a_decoder_begin_as_a_text_begins() -> None:
    """Gemma's way; each as the naive reference has it, which tokenizes a window's words by themselves."""
    begins, words = word_tokenizer("[CLS] $A"), text(60).split()
    got = windows(begins, text(60), WindowSize(3, 5))
    starts = [0, 18, 36]  # (60 - 4) // 3 apart
    assert got.tolist() == [begins(" ".join(words[start : start + 4]))["input_ids"] for start in starts]
    assert got[:, 0].tolist() == [1, 1, 1]


def test_more_windows_halve_the_distances() -> None:
    few = windows(word_tokenizer(), text(50), WindowSize(2, 5))
    assert few[:, 0].tolist() == [3, 25]  # 22 apart
    more = windows(word_tokenizer(), text(50), WindowSize(2, 5, most=8))
    assert more[:, 0].tolist() == [3, 25, 14, 36, 8, 30, 19, 41]
    assert windows(word_tokenizer(), text(50), WindowSize(2, 5, most=7))[:, 0].tolist() == [3, 25, 14, 36]
    assert windows(word_tokenizer(), text(19), WindowSize(2, 5, most=8)).shape == (2, 5)


def test_a_text_too_short_for_its_windows() -> None:
    with pytest.raises(UsageError, match="39 tokens, too few for 4 windows of 10"):
        windows(word_tokenizer(), text(39), WindowSize(4, 10))
    with pytest.raises(UsageError, match="positive"):
        windows(word_tokenizer(), text(39), WindowSize(4, 0))


@pytest.mark.parametrize(
    ("size", "tokens", "shape", "note"),
    [
        (WindowSize(4, 10, fixed_count=False), 39, (3, 10), "short, 39 tokens: 3 windows of 10 instead of 4 of 10"),
        (WindowSize(4, 10, False, False), 39, (4, 9), "4 windows of 9 instead of 4 of 10"),
        (WindowSize(4, 10, False, False), 7, (1, 7), "1 window of 7 instead of 4 of 10"),
    ],
)
def test_a_short_text_is_used_as_far_as_it_goes(
    size: WindowSize, tokens: int, shape: tuple[int, int], note: str
) -> None:
    notes: list[str] = []
    assert windows(word_tokenizer(), text(tokens), size, notice=notes.append).shape == shape
    assert len(notes) == 1
    assert notes[0].endswith(note)


@pytest.mark.parametrize("size", [WindowSize(4, 10, False, True), WindowSize(4, 10, False, False)])
def test_a_text_of_next_to_nothing(size: WindowSize) -> None:
    with pytest.raises(UsageError, match="has 1 tokens, too few"):
        windows(word_tokenizer(), text(1), size)
    with pytest.raises(UsageError, match="the text holds no text"):
        windows(word_tokenizer(), " \n", size)


def test_parts_are_tokenized_as_the_whole() -> None:
    whole = text(20000)
    pieces = [whole[i : i + 999] for i in range(0, len(whole), 999)]
    assert torch.cat(list(tokenize(word_tokenizer(), iter(pieces), part=1000))).tolist() == [
        3 + i % 60 for i in range(20000)
    ]


SECTIONS = [f"{word} " * 75 for word in WORDS[:10]]
"""Lines of one word; a thousand of each make a text that isn't tokenized as a whole."""


def write_long(folder: Path, name: str, times: int = 1000) -> Path:
    path = folder / name
    if name == "texts":
        path.mkdir()
        for i, line in enumerate(SECTIONS):
            (path / f"{i}.md").write_text(f"{line}\n" * times)
        return path
    rows = [line for line in SECTIONS for _ in range(times)]
    if ".jsonl" in name:
        content = "".join(f'{{"text": "{line}"}}\n' for line in rows)
    elif ".json" in name:
        content = json.dumps([{"text": line} for line in rows])
    elif ".csv" in name:
        content = "id,text\n" + "".join(f"1,{line}\n" for line in rows)
    else:
        content = "\n".join(rows) if "lines" in name else "".join(rows)
    path.write_bytes(gzip.compress(content.encode(), 1) if name.endswith(".gz") else content.encode())
    return path


@pytest.mark.parametrize(
    "name", ["lines.txt", "a.txt", "a.jsonl", "a.json", "a.csv", "a.txt.gz", "a.jsonl.gz", "texts"]
)
def test_a_long_text_is_entered_at_even_distances(tmp_path: Path, name: str) -> None:
    """Above four million characters it isn't tokenized as a whole."""
    source, notes = open_source(write_long(tmp_path, name)), list[str]()
    got = windows(word_tokenizer("[CLS] $A"), source, WindowSize(5, 65), notice=notes.append)
    assert got[:, 0].tolist() == [1] * 5
    assert got[:, 1:].median(dim=1).values.tolist() == [3, 5, 7, 9, 11]
    assert notes == []
    assert torch.equal(got, windows(word_tokenizer("[CLS] $A"), source, WindowSize(5, 65)))
    many = windows(word_tokenizer("[CLS] $A"), source, WindowSize(5, 65, most=10))
    assert torch.equal(many[:5], got)
    assert many[5:, 1:].median(dim=1).values.tolist() == [4, 6, 8, 10, 12]


def test_of_what_has_to_be_read_from_its_start_the_beginning_is_used(tmp_path: Path) -> None:
    notes: list[str] = []
    source = open_source(write_long(tmp_path, "a.txt.gz", times=4000))
    got = windows(word_tokenizer(), source, WindowSize(5, 64), notice=notes.append)
    assert notes == ["of a.txt.gz, the first 17 million characters are used"]
    assert got.median(dim=1).values.tolist() == [3, 4, 6, 7, 9]


MEASURED = """
import resource, sys
from compress.corpus.source import open_source
from compress.corpus.windows import WindowSize, windows
from tests.support.words import WORDS, text, word_tokenizer
tokenizer = word_tokenizer()
windows(tokenizer, text(100000), WindowSize(2, 64))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = windows(tokenizer, open_source(sys.argv[1]), WindowSize(32, 512))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, *rows.shape)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "megabytes", "most"),
    [("line.txt", 400, 100), ("a.jsonl", 400, 100), ("line.jsonl", 60, 400)],
)
def test_a_file_of_gigabytes_takes_megabytes(tmp_path: Path, name: str, megabytes: int, most: int) -> None:
    """Tokenized as a whole, 60 MB took 8.2 GB."""
    ends = {"line.txt": " ", "a.jsonl": '"}\n', "line.jsonl": " "}[name]
    begins = '{"text": "' if name == "a.jsonl" else ""
    path = tmp_path / name
    with path.open("w") as file:
        file.write('{"text": "' if name == "line.jsonl" else "")
        for i in range(megabytes):
            line = text(149 + i % 7) + ends
            file.write((begins + line) * (1_000_000 // len(begins + line)))
        file.write('"}' if name == "line.jsonl" else "")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", MEASURED, path]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    path.unlink()
    kilobytes, *shape = map(int, done.stdout.split())
    assert shape == [32, 512]
    assert kilobytes < most * 1000
