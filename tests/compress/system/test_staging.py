"""An output directory appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from compress.errors import UsageError
from compress.system import interrupt, staging
from compress.system.leftovers import name_in_place
from compress.system.staging import output_folder, scratch, staged


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
    (out / "report.json").write_text("theirs")
    (out / "whole").unlink()
    with staged(out, overwrite=True, marker="other") as stage:
        (stage / "whole").write_text("ours")
    assert (out / "whole").read_text() == "ours"


class Deaf:
    """Is interrupted in its destructor, from which no exception comes out."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


@pytest.fixture
def listening() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    interrupt.listen()
    yield
    interrupt.listen()  # which forgets what came
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("listening")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_was_swallowed_counts_all_the_same(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), staged(tmp_path / "a" / "out") as stage:
        deaf = Deaf()
        del deaf
        assert interrupt.heard()
        (stage / "file").write_text("whole, but not wanted")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("listening")
def test_a_second_interrupt_waits_until_all_is_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remove = shutil.rmtree

    def interrupted(path: Path, ignore_errors: bool) -> None:
        signal.raise_signal(signal.SIGTERM)
        remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr("shutil.rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt), staged(tmp_path / "a" / "out") as stage:
        (stage / "file").write_text("half")
        signal.raise_signal(signal.SIGTERM)
    assert list(tmp_path.iterdir()) == []


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
    (out / "report.json").write_text("old")
    with pytest.raises(KeyboardInterrupt), staged(out, overwrite=True):
        raise KeyboardInterrupt
    assert (out / "report.json").read_text() == "old"
    with staged(out, overwrite=True) as stage:
        (stage / "new").write_text("new")
        assert (out / "report.json").exists()
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


def replace(out: Path) -> None:
    out.mkdir()
    (out / "report.json").write_text("old")
    with staged(out, overwrite=True) as stage:
        (stage / "new").write_text("new")


def test_a_replacement_is_one_step_where_the_system_can_do_that_and_two_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(tmp_path / "out")
    monkeypatch.setattr(staging, "_exchange", lambda first, second: False)
    replace(tmp_path / "other")
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == ["other", "other/new", "out", "out/new"]


@pytest.mark.skipif(sys.platform != "linux", reason="RENAME_EXCHANGE is Linux's")
def test_two_directories_change_places(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert staging._exchange(tmp_path / "a", tmp_path / "b")
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == ["a", "a/b", "b", "b/a"]
    assert not staging._exchange(tmp_path / "a", tmp_path / "missing")


def test_what_is_not_the_programs_is_never_overwritten(tmp_path: Path) -> None:
    home = tmp_path / "Documents"
    home.mkdir()
    (home / "thesis.odt").write_text("years of work")
    with pytest.raises(UsageError, match="Documents is not overwritten, as no variant, artifact or report is in it"):
        staging.check_replaceable(home, overwrite=True)
    (home / "report.json").write_text("")
    with pytest.raises(UsageError, match=r"as thesis\.odt in it is not compress's; choose another output"):
        staging.check_replaceable(home, overwrite=True)
    assert (home / "thesis.odt").read_text() == "years of work"


def test_what_is_read_is_never_overwritten(tmp_path: Path) -> None:
    """Not even where this program wrote it: a variant is no place for its own artifact, nor a model for its variant."""
    variant = tmp_path / "out" / "fp16"
    variant.mkdir(parents=True)
    (variant / "compress.json").write_text('{"files": {}}')
    (tmp_path / "link").symlink_to(tmp_path / "out")
    for path in (variant, tmp_path / "link" / "fp16"):
        with pytest.raises(UsageError, match=f"^{path} holds {variant}, so it is never overwritten; choose another"):
            staging.check_replaceable(path, overwrite=True, source=variant)
        with pytest.raises(UsageError, match="never overwritten"), staged(path, overwrite=True, source=variant):
            pytest.fail("the block ran")
    assert (variant / "compress.json").is_file()
    staging.check_replaceable(variant, overwrite=True, source=tmp_path / "model")


def test_a_name_that_no_directory_can_have_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300)
    with pytest.raises(UsageError, match=r"can't write to .*xxx \(File name too long\); choose another output"):
        staging.check_replaceable(path, overwrite=False)
    (tmp_path / "a").symlink_to("a")
    with pytest.raises(UsageError, match=r"/a/out \(Too many levels of symbolic links\); choose another output"):
        staging.check_replaceable(tmp_path / "a" / "out", overwrite=False)


def test_a_mount_point_is_refused_before_the_work() -> None:
    with pytest.raises(
        UsageError, match=r"^/proc is a mount point, which can't be replaced; choose .* in it: /proc/out"
    ):
        staging.check_replaceable(Path("/proc"), overwrite=False)


KILLED = """
import os, signal, sys
from pathlib import Path
from compress.system.staging import staged
with staged(Path(sys.argv[1]), overwrite=True) as stage:
    (stage / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_kill_leaves_is_removed_by_the_next_run_on_that_place(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, tmp_path / "out"], check=False)
    (leftover,) = tmp_path.iterdir()
    assert (leftover / "half").is_file()
    with staged(tmp_path / "other"):
        assert leftover.is_dir()
    with staged(tmp_path / "out") as stage:
        (stage / "whole").touch()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "out"]


def test_what_a_kill_set_aside_comes_back(tmp_path: Path) -> None:
    (tmp_path / ".out.01234567.replaced").mkdir()
    (tmp_path / ".out.01234567.replaced" / "report.md").write_text("old")
    (tmp_path / ".out.01234567.partial").mkdir()
    with pytest.raises(UsageError, match="exists and is not empty"), staged(tmp_path / "out"):
        pytest.fail("the block ran")
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")] == ["out", "out/report.md"]


def test_two_runs_on_one_place_leave_each_other_alone(tmp_path: Path) -> None:
    with staged(tmp_path / "out") as first:
        with pytest.raises(ValueError, match="mine"), staged(tmp_path / "out"):
            assert first.is_dir()
            raise ValueError("mine")
        (first / "whole").touch()
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")] == ["out", "out/whole"]


def test_scratch_is_gone_at_the_end_and_after_a_kill(tmp_path: Path) -> None:
    (tmp_path / ".float.01234567.partial").mkdir()
    with scratch("float", tmp_path) as folder:
        (folder / "file").touch()
        assert list(tmp_path.iterdir()) == [folder]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_for_outputs_is_made_and_goes_again_where_nothing_came_of_it(tmp_path: Path) -> None:
    for content in ("", "report.md"):
        with pytest.raises(ValueError, match="mine"), output_folder(tmp_path / "a" / "b") as folder:
            assert folder.is_dir()
            if content:
                (folder / content).touch()
            raise ValueError("mine")
        assert sorted(p.name for p in tmp_path.rglob("*")) == (["a", "b", content] if content else [])
    with output_folder(tmp_path / "new"):
        pass
    with pytest.raises(ValueError, match="mine"), output_folder(tmp_path / "new"):  # which was there
        raise ValueError("mine")
    assert (tmp_path / "new").is_dir()
    with pytest.raises(UsageError, match="is a file"), output_folder(tmp_path / "a" / "b" / "report.md"):
        pytest.fail("the block ran")


def test_nobody_else_reads_what_is_scratch(tmp_path: Path) -> None:
    with scratch("reference", tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700


def test_many_runs_on_one_place_all_end_well_and_one_of_them_stays(tmp_path: Path) -> None:
    """None takes what another has just made for a leftover, nor fails at what another is removing."""
    out = tmp_path / "out"

    def replace_it(run: int) -> None:
        for turn in range(30):
            with staged(out, overwrite=True) as stage:
                for name in ("report.json", "report.md"):
                    (stage / name).write_text(f"{run} {turn}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(replace_it, range(4)))
    assert (out / "report.json").read_text() == (out / "report.md").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_report_of_another_program_stays(tmp_path: Path) -> None:
    staging.check_report(tmp_path)
    staging.check_report(tmp_path / "missing")
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(UsageError, match=r"/report\.html is not compress's, and a report would replace it; choose"):
        staging.check_report(tmp_path)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_who_may_read_weights_is_for_the_users_mask_to_say(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        with staged(tmp_path / "out") as stage:
            save_file({"a": torch.zeros(1)}, stage / "model.safetensors")
            (stage / "config.json").write_text("{}")
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "out").iterdir()} == {mode}
