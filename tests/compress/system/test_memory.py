"""Memory: what is free, and what glibc keeps."""

import os
import platform
import subprocess
import sys

import psutil
import pytest

from compress.system.memory import free_memory


def test_free_memory_is_part_of_the_machines():
    assert 0 < free_memory() < psutil.virtual_memory().total


HELD = """
import numpy as np, psutil
from compress.system.memory import held_memory, release_memory

resident, size = psutil.Process().memory_info, 1 << 27
release_memory()
before = resident().rss
with held_memory():
    block = np.ones(size, np.uint8)
    del block
    assert resident().rss - before > size // 2
assert resident().rss - before < size // 2
"""


@pytest.mark.skipif(os.name != "posix" or platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep")
def test_held_memory_is_kept_within_and_handed_back_after():
    """In a process of its own: what glibc does with a block depends on what was asked of it before."""
    assert subprocess.run([sys.executable, "-c", HELD], check=False).returncode == 0
