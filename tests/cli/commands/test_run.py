"""``compress run``: what is made, and what is refused before the work, which leaves nothing behind."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from compress.benchmarks.results.report_file import read_card
from compress.checkpoint.files.manifest import Manifest
from tests.support.cli import few_rounds, run_card_examples
from tests.support.models import copy_checkpoint

HEADS = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
REFUSED = {
    "GPT2LMHeadModel": (
        "int8",
        "hf",
        "int8: the linears of a gpt2 are transformers' own Conv1D, of which compressed-tensors loads no integers; "
        "--target ort-cpu holds them",
    ),
    "BloomForCausalLM": (
        "prune",
        "ort-cpu",
        "prune: the config of a BloomForCausalLM can't say a narrower MLP; use what=blocks",
    ),
    "MptForCausalLM": (
        "int8,fuse",
        "ort-cpu",
        "ort-cpu cannot export mpt models with attn_config.clip_qkv=0.5; use --target hf",
    ),
}
OPTIONS = {"MptForCausalLM": {"attn_config": {"clip_qkv": 0.5}}}


@pytest.mark.slow
def test_the_main_job_makes_variants_artifacts_and_a_report(main_job):
    out, done = main_job
    assert sorted(path.name for path in out.iterdir()) == [
        "fp16-fuse", "fuse", "int8-fuse", "report.accuracy-size.png", "report.accuracy-size.svg",
        "report.accuracy-speed.png", "report.accuracy-speed.svg", "report.csv", "report.error-layer.png",
        "report.error-layer.svg", "report.html", "report.json",
        "report.long.tex", "report.md", "report.tex",
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


@pytest.mark.slow
def test_the_card_says_what_was_measured_and_how_to_load_it(main_job):
    out, _ = main_job
    card = (out / "int8-fuse" / "README.md").read_text()
    assert "| × torch · × onnx float | torch | onnx float | int8-fuse |" in card
    assert "| accuracy retention | 1.0000 ± 0.0000 |" in card
    assert card.count("<!-- scores -->") == card.count("<!-- /scores -->") == card.count("## Measured") == 1
    outputs = run_card_examples(out / "int8-fuse")
    assert len(outputs) == 2
    assert all(outputs)


def test_the_card_of_an_encoder_says_how_to_load_it(bert, tmp_path, inside):
    assert inside(bert, "-p", "int8", "-o", tmp_path, "--no-score").returncode == 0
    outputs = run_card_examples(tmp_path / "int8")
    assert len(outputs) == 2
    assert all(outputs)


def test_ablation_also_makes_every_variant_without_each_of_its_passes(llama, tmp_path, inside):
    args = (llama, "-p", "fp16,int8,fuse", "-p", "int8,fuse", "--ablate", "--no-score", "-o", tmp_path)
    assert inside(*args).returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "fp16-fuse", "fp16-int8", "fp16-int8-fuse", "fuse", "int8", "int8-fuse",
    ]  # fmt: skip


def test_a_model_without_a_tokenizer_is_refused_before_the_work(llama, tmp_path, inside):
    bare = copy_checkpoint(llama, tmp_path / "bare")
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
    manifest = json.loads((tmp_path / "out" / "int8" / "compress.json").read_text())
    assert manifest["calibration"].endswith("16 windows of 125 tokens")  # of 128 positions, 0 to 2 are padding's


def test_what_cannot_be_fused_is_told_in_one_line(tiny, tmp_path, inside):
    path = tiny("LlamaForCausalLM", head_dim=10)
    done = inside(path, "-p", "fuse", "-o", tmp_path / "out", "--no-score")
    assert done.returncode == 0
    reason = "heads of size 10, which 8 doesn't divide"
    note, wrote = done.stderr.splitlines()
    assert note == f"note: fuse: attention stays a standard operator ({reason}); all else is fused"
    assert wrote == f"wrote {tmp_path / 'out' / 'fuse'}"
    done = inside(path, "-p", "fuse:kv=int8", "-o", tmp_path / "int8", "--no-score")
    assert done.returncode == 2
    assert done.stderr == (
        f"compress: fuse: kv=int8 needs fused attention, which can't be had ({reason}); leave out kv\n"
    )


def test_what_is_wrong_with_a_checkpoint_is_exit_3(llama, tmp_path, inside):
    def poison(tensors):
        tensors["model.layers.1.mlp.up_proj.weight"][0, 0] = float("nan")

    broken = copy_checkpoint(llama, tmp_path / "nan", poison)
    done = inside(broken, "-p", "int8", "-o", tmp_path / "out", "--no-score")
    assert done.returncode == 3
    assert "model.layers.1.mlp.up_proj.weight" in done.stderr
    assert "NaN" in done.stderr
    assert not (tmp_path / "out").exists()

    sums = copy_checkpoint(llama, tmp_path / "sums")
    (sums / "SHA256SUMS").write_text("nonsense\n")
    assert inside(sums, "-p", "int8", "-o", tmp_path / "out").returncode == 3

    cut = copy_checkpoint(llama, tmp_path / "cut")
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


def test_products_are_merged_for_a_target_without_them(untied, tmp_path, inside):
    order = (untied, "-p", "lowrank:rank=0.4:whiten=off", "--target", "hf", "--no-score", "-o", tmp_path / "out")
    refused = inside(*order)
    assert refused.returncode == 2
    assert "hf can't hold what lowrank produces (Factored); --merge stores" in refused.stderr
    assert not (tmp_path / "out").exists()
    done = inside(*order, "--merge")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "out" / "lowrank-rank-0.4-whiten-off" / "compress.json").read_text())
    assert {form["form"] for form in manifest["weights"].values()} == {"dense"}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_family_cannot_do_is_refused_before_the_work(random_model, inside, tmp_path, name):
    pipeline, target, message = REFUSED[name]
    out = tmp_path / "out"
    path = random_model(name, **HEADS, **OPTIONS.get(name, {}))
    done = inside("run", path, "-p", pipeline, "--target", target, "--no-score", "-o", out)
    assert done.returncode == 2
    assert done.stderr.replace("\n", " ").strip().endswith(message)
    assert not out.exists()


@pytest.mark.slow
def test_a_mistake_does_not_wait_for_what_takes_seconds_to_import():
    slow = {"compressed_tensors", "transformers.modeling_utils", "matplotlib", "lm_eval"}
    code = f"import sys, compress.cli.commands.run; print({slow} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.slow
def test_nothing_is_written_beside_the_output_and_the_cache(llama, tmp_path):
    home, out, here = tmp_path / "home", tmp_path / "out", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [Path(sys.executable).with_name("compress"), llama, "-p", "int8,fuse", "-o", out, "--quick"]
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(here.iterdir()) == []
    written = {file.relative_to(home).parts[:2] for file in home.rglob("*") if file.is_file()}
    assert written <= {(".cache", "compress-models")}
    assert (out / "int8-fuse" / "compress.json").is_file()


@pytest.mark.slow
def test_two_runtimes_of_the_same_integers_in_one_table(llama, tmp_path, inside):
    """Measured in both where llama.cpp is installed; else its row has sizes, and says why."""
    out, text = tmp_path / "out", tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over a lazy dog while seven wizards box daily " * 100)
    options = ("--target", "ort-cpu,gguf", "--eval", text, "--require", "bytes<=0.4x, bits_per_weight<=10")
    with few_rounds(windows=2):
        done = inside(llama, "-p", "int4,fuse", "-o", out, *options)
    assert done.returncode == 0, done.stderr
    assert "gate: 4 passed" in done.stdout
    card, variant = read_card(out), out / "int4-fuse"
    assert [(row.name, row.engine, row.recipe) for row in card.rows[2:]] == [
        ("int4-fuse/ort-cpu", "ort-cpu", "int4,fuse"), ("int4-fuse/gguf", "llama.cpp", "int4"),
    ]  # fmt: skip
    recorded = Manifest.read(variant).files
    assert {"onnx/model.onnx", "onnx/artifact.json", "gguf/model.gguf", "gguf/artifact.json"} <= recorded.keys()
    assert inside("verify", variant).returncode == 0
    told = f"{done.stdout}\n{done.stderr}"
    section = (variant / "README.md").read_text()
    assert "int4-fuse/ort-cpu | int4-fuse/gguf" in section
    if importlib.util.find_spec("llama_cpp"):
        assert re.search(r"^int4-fuse, the same integers: decodes (as )?fast", told, re.M)
        assert card.rows[3].measures["kl"].value == pytest.approx(card.rows[2].measures["kl"].value, rel=0.2)
    else:
        missing = "needs llama_cpp: pip install 'compress-models[peers]'"
        assert f"note: gguf is not measured, as it can't be run here: {missing}\n" in done.stderr
        assert f"not measured, as it can't be run here: {missing}\n" in done.stdout
        assert (card.rows[3].unavailable, set(card.rows[3].measures)) == (
            missing,
            {"disk_bytes", "other_bytes", "bits_per_weight"},
        )
        with few_rounds(windows=2):
            done = inside("score", variant, "--target", "gguf", "--target", "tensorrt", "--eval", text)
        assert done.returncode == 5
        assert done.stderr.endswith(
            "compress: none of gguf,tensorrt can be run here; --no-score makes the artifacts alone\n"
        )


@pytest.mark.slow
def test_a_ruined_variant_is_ruined_everywhere_though_its_original_fails_on_the_text(llama, tmp_path, inside):
    """Two bits of a model that is worse than a guess: the text is as likely as before, and nothing else is."""

    def enlarge(tensors):
        for tensor in tensors.values():
            if tensor.ndim == 2:
                tensor *= 3

    model, text, out = copy_checkpoint(llama, tmp_path / "model", enlarge), tmp_path / "text.txt", tmp_path / "out"
    text.write_text("the quick brown fox jumps over a lazy dog while seven wizards box daily " * 100)
    with few_rounds(windows=4):
        done = inside(model, "-p", "int2,fuse", "-o", out, "--eval", text, "--require", "retention>=0.9")
    assert done.returncode == 1
    figures = read_card(out).row("int2-fuse").measures
    assert figures["perplexity_ratio"].value < 1.5
    assert figures["retention"].value == pytest.approx(math.exp(-figures["kl"].value))
    report, card = ((out / name).read_text() for name in ("report.md", "int2-fuse/README.md"))
    for words in (done.stdout, report, card):
        assert re.search(r"accuracy retention .* 0\.00\d\d ± 0\.\d{4} ", words)
        assert "DOUBTFUL accuracy: the original is worse than a guess on this text: its perplexity is" in words
        assert re.search(r"int2-fuse LOSES ACCURACY: .*KL to the original is [\d.]+ nats, it predicts the ori", words)
    assert re.search(r"^int2-fuse: .*, retention 0\.00\d by KL$", done.stdout, re.M)
    assert "requirement not met: int2-fuse: retention>=0.9: 0.00" in done.stderr
