"""``compress clean``: leftovers of killed runs go, everything else stays."""

import subprocess
import sys

from compress.system.leftovers import in_use


def test_leftovers_go_and_their_bytes_are_told(tmp_path, inside):
    for name in (".int8.01234567.partial", "deep/.onnx.01234567.partial", "int8"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_bytes(bytes(600_000))
    with in_use(tmp_path / "deep" / ".onnx.01234567.partial"):
        done = inside("clean", tmp_path)
        assert (done.returncode, done.stdout) == (0, "removed 1 leftover, which frees 0.6 MB\n")
    done = inside("clean", tmp_path / "deep", tmp_path)
    assert (done.returncode, done.stdout) == (0, "removed 1 leftover, which frees 0.6 MB\n")
    assert inside("clean", tmp_path).stdout == "nothing to remove\n"
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["deep", "int8", "int8/file"]


def test_what_is_no_directory_is_refused(tmp_path, inside):
    done = inside("clean", tmp_path / "none")
    assert (done.returncode, done.stderr) == (2, f"compress: {tmp_path / 'none'} is no directory; give those that "
                                              "`compress` was to write to\n")  # fmt: skip


def test_a_report_that_a_kill_cut_short_is_finished(inside, tmp_path):
    (tmp_path / "out").mkdir()
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    (tmp_path / "out" / f".report.md.{process.pid:08x}.partial").write_text("new")
    (tmp_path / "out" / f".files.{process.pid:08x}.partial").write_text('["report.md"]')
    (tmp_path / "out" / f".report.csv.{process.pid:08x}.partial").write_text("half")
    done = inside("clean", tmp_path)
    assert (done.returncode, done.stdout) == (0, "removed 2 leftovers, which frees 0.0 MB\n")
    assert {file.name: file.read_text() for file in (tmp_path / "out").iterdir()} == {"report.md": "new"}
