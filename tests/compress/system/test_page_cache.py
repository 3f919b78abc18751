"""Files whose pages are forgotten are read from the disk again."""

import os
import sys
from pathlib import Path

import pytest

from compress.system import page_cache
from compress.system.page_cache import drop_cached


def cached(file: Path) -> bool:
    """Whether a read of a file's beginning needs no disk."""
    handle = os.open(file, os.O_RDONLY)
    try:
        return os.preadv(handle, [bytearray(4096)], 0, os.RWF_NOWAIT) > 0
    except BlockingIOError:
        return False
    finally:
        os.close(handle)


@pytest.mark.skipif(sys.platform != "linux", reason="RWF_NOWAIT is Linux's")
def test_pages_are_forgotten_and_contents_stay(tmp_path):
    file = tmp_path / "inner" / "weights"
    file.parent.mkdir()
    file.write_bytes(b"x" * (1 << 20))
    try:
        if not cached(file):
            pytest.skip("this file system caches nothing")
    except OSError:
        pytest.skip("this file system doesn't tell what it caches")
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
