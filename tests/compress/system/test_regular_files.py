"""A checkpoint's files are regular ones within its folder, or the hub's blobs; nothing else is opened."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from compress.errors import ModelError
from compress.system.regular_files import check_file, copy_file, open_file, read_json, refusal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "model" / "LICENSE").write_text("free")
    return tmp_path / "model"


def link(folder: Path, name: str, target: object) -> Path:
    (folder / name).symlink_to(str(target))
    return folder / name


def test_a_file_and_a_link_within_the_folder_may_be_read(folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "text").write_text("inside")
    copies = [folder / "LICENSE", link(folder, "a", "LICENSE"), link(folder, "b", "a"), link(folder, "c", "inner/text")]
    copies.append(link(folder, "d", folder / "inner" / ".." / "LICENSE"))
    assert [refusal(file) for file in copies] == [None] * 5
    assert [open_file(file).read() for file in copies] == [b"free", b"free", b"free", b"inside", b"free"]


def test_a_folder_that_is_a_link_itself_is_its_target(folder: Path) -> None:
    elsewhere = link(folder.parent, "link", folder)
    link(folder, "NOTICE", "LICENSE")
    assert refusal(elsewhere / "NOTICE") is None


def test_links_lead_into_the_hubs_blobs_and_no_further(tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "repo" / "snapshots" / "0123abcd", tmp_path / "repo" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (tmp_path / "secret").write_text("secret")
    (blobs / "e3b0").write_text("{}")
    link(blobs, "bad", tmp_path / "secret")
    assert refusal(link(snapshot, "config.json", "../../blobs/e3b0")) is None
    assert (
        refusal(link(snapshot, "NOTICE", "../../blobs/bad"))
        == f"is a link out of the checkpoint, to {tmp_path / 'secret'}"
    )
    assert refusal(link(snapshot, "other", "../../secret")) == "is a link that leads nowhere (../../secret)"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("../secret", "is a link out of the checkpoint, to {parent}/secret"),
        ("{parent}/secret", "is a link out of the checkpoint, to {parent}/secret"),
        ("inner/../../secret", "is a link out of the checkpoint, to {parent}/secret"),
        ("chain", "is a link out of the checkpoint, to {parent}/secret"),
        ("..", "is a link out of the checkpoint, to {parent}"),
        ("inner", "is a directory"),
        ("pipe", "is no regular file"),
        ("socket", "is no regular file"),
        ("/dev/zero", "is a link out of the checkpoint, to /dev/zero"),
        ("missing", "is a link that leads nowhere (missing)"),
        ("it", "is a link that leads nowhere (it)"),
    ],
)
def test_what_is_elsewhere_or_no_file_is_refused(folder: Path, target: str, reason: str) -> None:
    (folder / "inner").mkdir()
    link(folder, "chain", "next")
    link(folder, "next", "../secret")
    os.mkfifo(folder / "pipe")
    here = os.open(folder, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{here}/socket")  # a socket's path may be no longer than 108 bytes
    os.close(here)
    file = link(folder, "it", target.format(parent=folder.parent))
    expected = reason.format(parent=folder.parent)
    assert refusal(file) == expected
    for use in (check_file, open_file, read_json, lambda file: copy_file(file, folder / "copy")):
        with pytest.raises(ModelError) as error:
            use(file)
        assert str(error.value) == f"{file} {expected}; put the file itself there"
    assert not (folder / "copy").exists()


def test_a_copy_is_a_file_of_its_own(folder: Path) -> None:
    copy_file(link(folder, "NOTICE", "LICENSE"), folder / "copy")
    assert (folder / "copy").read_text() == "free"
    assert not (folder / "copy").is_symlink()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "can't be read (Expecting property name"),
        ("[" * 100_000, "can't be read (nested too deep)"),
        ('{"a":' * 100_000, "can't be read (nested too deep)"),
        (r'{"a": ["\ud800"]}', "can't be read (half of a surrogate pair, which is no text)"),
        ("\ufeff{}", "can't be read ("),
        ("1" * 5000, "can't be read (Exceeds the limit"),
        (json.dumps({"a": " " * 200_000}), "is larger than 0 MiB"),
    ],
)
def test_json_that_is_none_is_told_in_one_line(folder: Path, text: str, reason: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(ModelError) as error:
        read_json(folder / "config.json", limit=len('{"a":') * 100_000 if '{"a":' * 9 in text else 150_000)
    assert str(error.value).startswith(f"{folder / 'config.json'} {reason}")
    assert "\n" not in str(error.value)


def test_json_is_read_as_it_is(folder: Path) -> None:
    (folder / "config.json").write_bytes('{"a": ["é", "\\ud83d\\ude00", 1e400]}'.encode())
    assert read_json(folder / "config.json") == {"a": ["é", "😀", float("inf")]}
    (folder / "config.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="can't be read"):
        read_json(folder / "config.json")
