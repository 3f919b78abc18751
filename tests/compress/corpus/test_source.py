"""What a user names as a text."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.corpus.source import open_source, read_text
from compress.errors import UsageError


def test_read_text_and_json_lines(tmp_path: Path) -> None:
    plain, lines = tmp_path / "a.txt", tmp_path / "a.jsonl"
    plain.write_text("héllo\nthere\n", encoding="utf-8")
    lines.write_text('{"text": "one"}\n\n{"content": "two", "id": 2}\n')
    assert read_text(plain) == "héllo\nthere\n"
    assert read_text(lines) == "one\n\ntwo"


def test_a_missing_text_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.txt \(No such file or directory\)"):
        read_text(tmp_path / "absent.txt")
    with pytest.raises(UsageError, match=r"absent\.txt \(No such file or directory\)"):
        read_text(tmp_path / "absent.txt:column")


def test_plain_text_has_no_columns(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(UsageError, match="is plain text, which has no column 'text'; remove the colon and the name"):
        read_text(f"{tmp_path / 'a.txt'}:text")


def test_a_folder_of_texts(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.txt").write_text("one")
    (tmp_path / "sub" / "a.jsonl").write_text('{"text": "two"}')
    (tmp_path / "a.png").write_bytes(bytes(9))
    assert read_text(tmp_path) == "one\n\ntwo"
    assert open_source(tmp_path).name == tmp_path.name
    (tmp_path / "b.txt").write_bytes(b"a\0")
    with pytest.raises(UsageError, match=r"b\.txt is no text but binary"):
        read_text(tmp_path)
    with pytest.raises(UsageError, match=r"holds no texts \(txt, text, md, .*parquet\)"):
        (tmp_path / "sub" / "a.jsonl").unlink()
        read_text(tmp_path / "sub")


def test_what_else_lies_in_folders(tmp_path: Path) -> None:
    """Hidden files, those of macOS's archives, what ``datasets`` keeps; plain texts where a column is named."""
    for name in (".git/a.md", ".b.txt", "__MACOSX/._c.txt", "dataset_infos.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0")
    (tmp_path / "absent.txt").symlink_to(tmp_path / "none")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "rows.jsonl").write_text('{"text": "one", "mine": "1"}')
    assert read_text(tmp_path) == "about\n\none"
    assert read_text(f"{tmp_path}:mine") == "1"


def test_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a shell's variable that isn't set: not the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(UsageError, match="the name of a text is empty"):
        open_source("")


def test_a_folder_is_entered_inside_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one two")
    (tmp_path / "b.txt").write_text("three four five six")
    source = open_source(tmp_path)
    assert "".join(source.read_from(0.0) or ()) == "one two\n\nthree four five six"
    assert "".join(source.read_from(0.6) or ()) == "five six"
