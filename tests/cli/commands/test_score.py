"""``compress score``: variants measured again, in other settings than those of their run."""

from __future__ import annotations

import json
import shutil

import pytest

from compress.benchmarks.results.fusion_gain import gains
from compress.benchmarks.results.report_file import read_card
from compress.benchmarks.runtime.decoding import Sampling
from compress.checkpoint.files.manifest import Manifest
from tests.support.cli import few_rounds


@pytest.mark.slow
def test_variants_are_scored_again(variants, tmp_path, inside):
    out = shutil.copytree(variants, tmp_path / "out")
    (out / "report.md").write_text("an earlier report\n")  # among the arguments, where it is ignored
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over a lazy dog while seven wizards box daily " * 400)
    require = ("--require", "kl<=9, disk_bytes<=1B")
    more = ("--seq", "126", "--batch", "2", "--beams", "2", "--sample", "top_k=5,temperature=0.8")
    done = inside("score", *sorted(out.iterdir()), "--eval", text, *require, *more)
    assert done.returncode == 1, done.stderr
    assert "gate: 3 failed, 3 passed" in done.stdout
    assert "requirement not met: fp16-fuse: disk_bytes<=1B" in done.stderr
    assert "an earlier report" not in (out / "report.md").read_text()
    card = read_card(out)
    assert card.settings.sampling == Sampling(top_k=5, temperature=0.8)
    assert card.settings.steps_after(126) == 2
    for row in card.rows:
        assert {"beam_tps", "sample_tps", "load_rss", "prefill_rss", "decode_rss"} <= row.measures.keys()
        assert [(cell.length, cell.batch, "decode_tps" in cell.measures) for cell in row.cells] == [(126, 2, True)]
    assert {gain.row for gain in gains(card)} == {"fuse"}
    assert "time to first token, ms" in done.stdout and "126 tokens × 2" in done.stdout


@pytest.fixture
def out(variants, tmp_path):
    return shutil.copytree(variants, tmp_path / "out")


def test_an_artifact_that_was_changed_or_moved_is_refused(out, inside):
    with (out / "fuse" / "onnx" / "model.onnx").open("ab") as file:
        file.write(b"x")
    done = inside("score", out / "fuse")
    assert done.returncode == 3
    message = f"compress: {out / 'fuse' / 'onnx' / 'model.onnx'} was changed: its sha256 isn't the recorded "
    assert done.stderr.startswith(message)
    again = f"export it again (compress export {out / 'fuse'} --target ort-cpu), or pass --unverified"
    assert done.stderr.endswith(f"…; {again}\n")
    shutil.rmtree(out / "fp16-fuse" / "onnx")
    shutil.copytree(out / "int8-fuse" / "onnx", out / "fp16-fuse" / "onnx")
    done = inside("score", out / "fp16-fuse")
    assert done.returncode == 3
    assert "onnx/artifact.json was changed" in done.stderr


def test_an_original_with_another_config_is_refused(out, llama, inside, tmp_path):
    model = shutil.copytree(llama, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-3}))
    done = inside("score", out / "fuse", "--model", model)
    assert done.returncode == 3
    assert done.stderr == (
        f"compress: {model} is not the original of these variants: its config.json differs; name the original with "
        "--model, or pass --unverified\n"
    )


def test_what_has_no_artifact_for_the_target_is_left_out_with_a_word(out, inside):
    shutil.rmtree(out / "fuse" / "onnx")
    (out / "notes.txt").write_text("mine")
    with (out / "int8-fuse" / "onnx" / "model.onnx").open("ab") as file:
        file.write(b"x")  # so that the score ends before it measures
    (out / "latest").symlink_to("int8-fuse")  # the same again, which counts once
    done = inside("score", *sorted(out.iterdir()))
    assert done.returncode == 3
    assert done.stderr.splitlines()[:2] == [
        f"note: {out / 'fuse'} is left out: it has no artifact for ort-cpu (compress export {out / 'fuse'} --target "
        "ort-cpu makes it)",
        f"note: {out / 'notes.txt'} is left out: it is not a variant",
    ]
    assert "was changed" in done.stderr
    done = inside("score", out / "fuse")
    assert done.returncode == 3
    assert done.stderr == (
        f"compress: nothing to score: {out / 'fuse'} has no artifact for ort-cpu (compress export {out / 'fuse'} "
        "--target ort-cpu makes it)\n"
    )
    done = inside("score", out)
    assert (done.returncode, done.stderr) == (
        3, f"compress: nothing to score: {out} is not a variant; give one of those in it: {out}/fp16-fuse, {out}/fuse, "
        f"{out}/int8-fuse and 1 more\n"
    )  # fmt: skip
    done = inside("score", out / "report.md", out / "report.json")
    assert (done.returncode, done.stderr) == (
        2, "compress: no variant among the arguments; give directories that `compress run` wrote\n"
    )  # fmt: skip
    done = inside("score", out / "fuse", out / "fsue")
    assert (done.returncode, done.stderr) == (
        2, f"compress: {out / 'fsue'} does not exist; give directories that `compress run` wrote\n"
    )  # fmt: skip


@pytest.mark.slow
def test_unverified_insists(out, inside, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over a lazy dog while seven wizards box daily " * 400)
    manifest = Manifest.read(out / "fuse")
    manifest.files["onnx/model.onnx"] = "0" * 64
    manifest.save(out / "fuse")
    done = inside("score", out / "fuse", "--eval", text, "--unverified")
    assert done.returncode == 0, done.stderr
    assert "note: --unverified: neither artifacts nor original were held against what was recorded" in done.stderr
    assert any("--unverified" in note for note in read_card(out).notes)


@pytest.mark.slow
def test_what_calibrated_a_variant_is_no_evaluation(llama, tmp_path, inside):
    """In the run, and when it is scored again on a copy."""
    text, copy, out = tmp_path / "text.txt", tmp_path / "copy.txt", tmp_path / "out"
    text.write_text("the quick brown fox jumps over a lazy dog while seven wizards box daily " * 400)
    copy.write_text(text.read_text().replace("fox jumps", "fox  jumps", 3))
    run = ("run", llama, "-p", "int4", "--calibration", text, "--samples", 4, "-o", out)
    refused = inside(*run, "--eval", copy)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "the evaluation on copy.txt is on what calibrated the variants" in refused.stderr
    assert "give another text with --eval, or pass --allow-overlap" in refused.stderr
    assert not out.exists()
    assert inside(*run, "--no-score").returncode == 0
    assert "remove --no-score" in inside(*run, "--no-score", "--allow-overlap").stderr
    again = inside("score", out / "int4", "--eval", copy)
    assert again.returncode == 2
    assert "the evaluation on copy.txt is on what calibrated int4: " in again.stderr
    with few_rounds(windows=2):
        allowed = inside("score", out / "int4", "--eval", copy, "--allow-overlap", "--quick", "--eval-windows", "3")
    assert allowed.returncode == 0, allowed.stderr
    card = read_card(out)
    assert (card.windows, card.settings.quick, card.settings.rounds, card.settings.patience) == ((3, 128), True, 1, 0.0)
    assert any(note.endswith("; --allow-overlap") for note in card.notes)
