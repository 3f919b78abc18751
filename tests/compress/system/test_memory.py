"""Memory: what is free, and what glibc keeps."""

import os
import platform

import psutil
import pytest
import torch

from compress.system.memory import free_memory, held_memory, release_memory


def test_free_memory_is_part_of_the_machines():
    assert 0 < free_memory() < psutil.virtual_memory().total


@pytest.mark.skipif(os.name != "posix" or platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep")
def test_held_memory_is_kept_within_and_handed_back_after():
    resident, size = psutil.Process().memory_info, 1 << 27
    release_memory()
    before = resident().rss
    with held_memory():
        block = torch.ones(size, dtype=torch.uint8)
        del block
        assert resident().rss - before > size // 2
    assert resident().rss - before < size // 2
