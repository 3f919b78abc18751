"""An output directory appears whole or not at all."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from compress.errors import UsageError
from compress.system import interrupt
from compress.system.staging import name_in_place, staged


def test_the_directory_appears_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b" / "out"
    with staged(out) as stage:
        (stage / "file").write_text("whole")
        assert stage.parent == out.parent
        assert not out.exists()
    assert (out / "file").read_text() == "whole"
    assert [p.name for p in out.parent.iterdir()] == ["out"]


def test_a_stage_knows_the_name_that_it_will_have(tmp_path: Path) -> None:
    with staged(tmp_path / "int8-fuse") as stage:
        assert stage.name != "int8-fuse"
        assert name_in_place(stage) == "int8-fuse"
    assert name_in_place(tmp_path / "int8-fuse") == "int8-fuse"
    assert name_in_place(Path(".hidden.partial")) == ".hidden.partial"


def test_what_another_process_finished_meanwhile_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with staged(out, overwrite=True, marker="whole") as stage:
        (stage / "whole").write_text("ours")
        with staged(out, overwrite=True, marker="whole") as faster:
            (faster / "whole").write_text("theirs")
    assert (out / "whole").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with staged(out, overwrite=True, marker="other") as stage:
        (stage / "whole").write_text("ours")
    assert (out / "whole").read_text() == "ours"


class Deaf:
    """Is interrupted in its destructor, from which no exception comes out."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_was_swallowed_counts_all_the_same(tmp_path: Path) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    interrupt.listen()
    try:
        with pytest.raises(KeyboardInterrupt), staged(tmp_path / "a" / "out") as stage:
            deaf = Deaf()
            del deaf
            assert interrupt.heard()
            (stage / "file").write_text("whole, but not wanted")
        assert list(tmp_path.iterdir()) == []
    finally:
        interrupt.listen()  # which forgets it
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), staged(tmp_path / "a" / "b" / "out") as stage:
        (stage / "file").write_text("half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_parents_that_others_use(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mine"), staged(tmp_path / "a" / "b" / "out"):
        (tmp_path / "a" / "theirs").write_text("")
        raise ValueError("mine")
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["theirs"]


def test_an_output_that_exists_is_refused_and_untouched(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("old")
    with pytest.raises(UsageError, match="exists and is not empty.*--overwrite"), staged(out):
        pytest.fail("the block ran")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert (out / "old").read_text() == "old"


def test_an_output_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="exists"), staged(out):
        out.mkdir()
        (out / "theirs").write_text("")
    assert [p.name for p in out.iterdir()] == ["theirs"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_empty_directory_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with staged(tmp_path / "out") as stage:
        (stage / "new").write_text("")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["new"]


def test_overwrite_replaces_everything_only_when_it_ends_well(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("old")
    with pytest.raises(KeyboardInterrupt), staged(out, overwrite=True):
        raise KeyboardInterrupt
    assert (out / "old").read_text() == "old"
    with staged(out, overwrite=True) as stage:
        (stage / "new").write_text("new")
        assert (out / "old").exists()
    assert [p.name for p in out.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_the_working_directory_is_never_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UsageError, match="never overwritten"), staged(tmp_path, overwrite=True):
        pytest.fail("the block ran")
    assert (tmp_path / "here").is_dir()


def test_a_link_keeps_pointing_where_it_did(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    with staged(tmp_path / "out") as stage:
        (stage / "new").write_text("")
    assert (tmp_path / "out").is_symlink()
    assert [p.name for p in (tmp_path / "disk").iterdir()] == ["new"]


def test_a_parent_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="can't write to"), staged(tmp_path / "file" / "out"):
        pytest.fail("the block ran")
    with pytest.raises(UsageError, match="is a file"), staged(tmp_path / "file"):
        pytest.fail("the block ran")
    assert (tmp_path / "file").read_text() == ""
