"""``compress verify`` as a CI job meets it: a line for each finding, and an exit code."""

import shutil

import pytest


@pytest.fixture
def out(variants, tmp_path):
    return shutil.copytree(variants, tmp_path / "out")


def test_what_is_as_it_was_made_passes(out, inside):
    (out / "report.md").write_text("among the arguments, where it is ignored\n")
    (out / "fuse" / "README.md").write_text("a card may be edited\n")
    done = inside("verify", *sorted(out.iterdir()))
    assert (done.returncode, done.stderr) == (0, "")
    names = [line.partition(": ")[0] for line in done.stdout.splitlines()]
    assert names == [str(out / name) for name in ("fp16-fuse", "fuse", "int8-fuse")]
    assert all(": as recorded: " in line and " files and the original " in line for line in done.stdout.splitlines())


def test_what_was_edited_or_moved_is_exit_3(out, inside):
    with (out / "fuse" / "onnx" / "model.onnx.data").open("ab") as file:
        file.write(b"x")
    shutil.rmtree(out / "fp16-fuse" / "onnx")
    shutil.copytree(out / "int8-fuse" / "onnx", out / "fp16-fuse" / "onnx")
    done = inside("verify", out / "fuse", out / "fp16-fuse", out / "int8-fuse")
    assert done.returncode == 3
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{out / 'fuse'}: onnx/model.onnx.data was changed: its sha256 isn't the recorded ")
    assert [line.split()[1] for line in lines[1:-1]] == [
        "onnx/artifact.json", "onnx/model.onnx", "onnx/model.onnx.data", "onnx/model_last_token.onnx",
    ]  # fmt: skip
    assert lines[-1].startswith(f"{out / 'int8-fuse'}: as recorded: ")
    assert done.stderr == "compress: 2 of 3 variants are not as they were made; make or export them again\n"


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ([], 2, "Missing argument"),
        (["OUT/nothing"], 3, "is not a variant"),
        (["OUT/report.md"], 2, "no variant among the arguments"),
        (["OUT/fuse", "--model", "OUT/nothing"], 3, "no such directory"),
    ],
)
def test_a_mistake_is_told_in_one_line(out, inside, args, code, message):
    done = inside("verify", *(arg.replace("OUT", str(out)) for arg in args))
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
