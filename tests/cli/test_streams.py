"""Standard streams: a reader that leaves changes nothing, a full disk is told, any terminal can be written to."""

import os
import subprocess
import sys

import pytest

needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is full")
COMMAND = [sys.executable, "-P", "-m", "compress", "passes", "int4"]


def run(output, **variables):
    environment = {**os.environ, "PYTHONUTF8": "0", **variables}
    return subprocess.run(COMMAND, stdout=output, stderr=subprocess.PIPE, env=environment, check=False)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_changes_nothing(unbuffered):
    read, write = os.pipe()
    os.close(read)
    done = run(write, PYTHONUNBUFFERED=unbuffered)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@needs_full
def test_a_full_disk_is_told_in_one_line():
    with open("/dev/full", "wb") as full:
        done = run(full)
    assert done.returncode == 4
    assert done.stderr == b"compress: [Errno 28] No space left on device; free disk space or choose another output\n"


def test_a_terminal_of_few_characters_gets_what_it_can_show():
    done = run(subprocess.PIPE, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Dense or Masked or Factored ? Quantized or Residual" in done.stdout


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("passes int4 >&-", 0),
        ("passes int4 >&- 2>&-", 0),
        ("passes int9 2>&-", 2),
        pytest.param("passes int9 2>/dev/full", 2, marks=needs_full),
    ],
)
def test_streams_that_are_closed_or_full_change_no_exit_code(command, code):
    done = subprocess.run(f'"{sys.executable}" -P -m compress {command}', shell=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")


def test_errors_that_nobody_reads_change_no_exit_code():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*COMMAND[:-1], "int9"], stdout=subprocess.PIPE, stderr=write, check=False)
    os.close(write)
    assert (done.returncode, done.stdout) == (2, b"")
