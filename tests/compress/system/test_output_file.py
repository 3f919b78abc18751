"""A single output: its folder is made, and what can't be written is refused before the work."""

import os
import threading

import pytest

from compress.errors import UsageError
from compress.system.output_file import check_output_file, write_output_file


def test_folders_are_made_with_the_file_and_not_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in (tmp_path / "deep" / "in" / "a.xml", tmp_path / "deep" / "in" / "b.xml"):
        check_output_file(file.relative_to(tmp_path))
        assert not file.exists()
        write_output_file(file.relative_to(tmp_path), b"<a/>")
        assert file.read_bytes() == b"<a/>"
    assert sorted(os.listdir(tmp_path / "deep" / "in")) == ["a.xml", "b.xml"]


def test_what_can_not_be_written_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.touch()
    for path, message in (
        (tmp_path, f"{tmp_path} is a directory; name a file"),
        (file / "a.xml", f"can't write {file}/a.xml: {file} is no directory; name another file"),
        (file / "in" / "a.xml", f"can't write {file}/in/a.xml: {file} is no directory; name another file"),
    ):
        with pytest.raises(UsageError) as error:
            check_output_file(path)
        assert str(error.value) == message
    with pytest.raises(UsageError, match="can't write to"):
        write_output_file(file / "in" / "a.xml", b"")
    monkeypatch.setattr("os.access", lambda path, mode, **_: mode != os.W_OK)
    with pytest.raises(UsageError, match=f"nothing can be written to the directory {tmp_path}; name another file"):
        check_output_file(tmp_path / "new" / "a.xml")


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_output_file(pipe)
    writer = threading.Thread(target=write_output_file, args=(pipe, b"<a/>"))
    writer.start()
    assert pipe.read_bytes() == b"<a/>"
    writer.join()
    assert pipe.is_fifo()
