"""Files that are written together appear together, whatever ends the writing."""

import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from compress.errors import UsageError
from compress.system import file_set, leftovers
from compress.system.file_set import finish_files, write_files
from compress.system.leftovers import in_use


def contents(folder):
    return {file.name: file.read_text() for file in sorted(folder.iterdir())}


@pytest.fixture
def old(tmp_path):
    for name in ("report.json", "report.md", "report.csv", "keep.txt"):
        (tmp_path / name).write_text("old")
    return tmp_path


@pytest.fixture(scope="module")
def gone():
    """The number of a process that has ended, as file names have it."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return f"{process.pid:08x}"


def test_all_are_replaced_and_what_is_obsolete_goes(old):
    write_files({old / "report.json": "new", old / "report.md": b"new"}, [old / "report.csv", old / "never.csv"])
    assert contents(old) == {"keep.txt": "old", "report.json": "new", "report.md": "new"}


def test_a_full_disk_changes_nothing(old):
    """The limit on a file's size stands for the disk's: the second file doesn't fit."""
    before, limits = contents(old), resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_files({old / "report.json": "new", old / "report.md": "x" * (1 << 17)}, [old / "report.csv"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert contents(old) == before


def test_an_interrupt_while_files_take_their_places_waits(old, monkeypatch):
    real, moved = os.replace, []

    def interrupted(source, target):
        real(source, target)
        moved.append(target.name)
        if len(moved) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(file_set.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_files({old / name: "new" for name in ("report.csv", "report.json", "report.md")})
    assert contents(old) == {"keep.txt": "old", "report.csv": "new", "report.json": "new", "report.md": "new"}


def test_the_next_run_finishes_what_a_killed_one_began(old, gone):
    """One file was moved; the others wait, beside one of a run that was killed earlier."""
    (old / "report.json").write_text("new")
    (old / f".report.md.{gone}.partial").write_text("new")
    (old / f".files.{gone}.partial").write_text('["report.json", "report.md"]')
    (old / f".report.csv.{gone}.partial").write_text("half")
    finish_files(old)
    assert contents(old) == {"keep.txt": "old", "report.csv": "old", "report.json": "new", "report.md": "new"}


def test_nothing_is_moved_before_the_list_is_complete(old, gone):
    before = contents(old)
    (old / f".report.md.{gone}.partial").write_text("new")
    (old / f".files.{gone}.partial").write_text('["report.md"')
    write_files({old / "report.csv": "newer"})
    assert contents(old) == before | {"report.csv": "newer"}


def test_a_list_moves_nothing_out_of_its_directory_and_follows_no_link(old, gone, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "precious").write_text("precious")
    (old / f".x.{gone}.partial").symlink_to(outside / "precious")
    (old / f".files.{gone}.partial").write_text(f'["../{outside.name}/precious", "x", 3, null]')
    finish_files(old)
    assert (outside / "precious").read_text() == "precious"
    assert not (old / "x").exists()


def test_what_another_process_is_writing_stays(old):
    file = old / f".report.md.{os.getppid():08x}.partial"
    file.write_text("half")
    finish_files(old)
    assert file.read_text() == "half"


def test_a_directory_in_the_way_is_told_before_anything_is_written(old):
    before = contents(old)
    (old / "report.tex").mkdir()
    with pytest.raises(UsageError, match="report.tex is a directory, where a file is to be written; move it"):
        write_files({old / "report.json": "new", old / "report.tex": "new"})
    (old / "report.tex").rmdir()
    assert contents(old) == before


def test_two_that_write_at_once_do_not_mix_their_files(tmp_path):
    """Whoever writes last: all files are of one write."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom compress.system.file_set import write_files\n"
        "folder = Path(sys.argv[1])\n"
        "for i in range(25):\n"
        "    write_files({folder / f'report.{j}': f'{sys.argv[2]} {i}' for j in range(4)})\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), name]) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(list(tmp_path.iterdir())) == 4
    assert len({file.read_text() for file in tmp_path.iterdir()}) == 1


def test_a_lock_that_somebody_else_holds_for_good_stops_nothing(old, monkeypatch):
    """As in ``flock DIR compress …``."""
    monkeypatch.setattr(leftovers, "_PATIENCE", 0.05)
    with in_use(old):
        write_files({old / "report.json": "new"})
    assert contents(old)["report.json"] == "new"


@pytest.mark.slow
def test_kills_leave_the_old_or_the_new(tmp_path):
    """Twenty kills at any time: once the next call has put things right, all files are of one write."""
    script = (
        "import itertools, sys\nfrom pathlib import Path\nfrom compress.system.file_set import write_files\n"
        "print('ready', flush=True)\n"
        "for i in itertools.count():\n"
        "    write_files({Path(sys.argv[1], f'report.{j}'): str(i) * 10000 for j in range(12)})\n"
    )
    write_files({tmp_path / f"report.{i}": "old" for i in range(12)})
    for kill in range(20):
        with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(0.01 + 0.003 * kill)
            process.kill()
        finish_files(tmp_path)
        files = sorted(tmp_path.iterdir())
        assert len(files) == 12, files
        assert len({file.read_text() for file in files}) == 1
