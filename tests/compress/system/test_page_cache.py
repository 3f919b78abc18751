"""Files whose pages are forgotten are read from the disk again."""

import ctypes
import mmap
import os
import sys
from pathlib import Path

import pytest

from compress.system import page_cache
from compress.system.page_cache import drop_cached


def cached(file: Path) -> bool:
    """Whether the system has a page of a file in memory, by mincore(2): unlike a read, it brings none there."""
    with file.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as pages:
        resident = (ctypes.c_ubyte * (len(pages) // mmap.PAGESIZE))()
        begin = ctypes.c_char.from_buffer(pages)
        failed = ctypes.CDLL(None).mincore(ctypes.byref(begin), ctypes.c_size_t(len(pages)), resident)
        del begin  # else the mapping can't be closed
        assert not failed
    return any(page & 1 for page in resident)


@pytest.mark.skipif(sys.platform != "linux", reason="what is asked is Linux's")
def test_pages_are_forgotten_and_contents_stay(tmp_path):
    file = tmp_path / "inner" / "weights"
    file.parent.mkdir()
    file.write_bytes(b"x" * (1 << 20))
    probe = tmp_path / "probe"
    with probe.open("wb") as stream:
        stream.write(b"x" * mmap.PAGESIZE)
        stream.flush()
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if cached(probe):
        pytest.skip("this file system is in memory")
    assert cached(file)
    drop_cached(tmp_path)
    assert not cached(file)
    assert file.read_bytes() == b"x" * (1 << 20)


def test_what_cannot_be_read_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    drop_cached(tmp_path)
    drop_cached(tmp_path / "nowhere")
    monkeypatch.delattr(page_cache.os, "posix_fadvise")
    drop_cached(tmp_path)
    assert (tmp_path / "file").read_text() == "x"
