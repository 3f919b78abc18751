"""A run of a vision model, step by step: what is made and measured, and what is refused in one line."""

import json
import os
import signal
import time

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from compress.benchmarks.data.tasks import read_tasks
from compress.checkpoint.model import Model
from compress.errors import UsageError
from tests.support.cli import run_card_examples

SHAPE = {
    "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 96, "image_size": 48,
    "patch_size": 16, "num_labels": 5, "initializer_range": 0.2,
}  # fmt: skip


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    """A tiny one by the names that checkpoints have, and how it reads images; there is no tokenizer."""
    path = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    transformers.ViTForImageClassification(transformers.ViTConfig(**SHAPE)).save_pretrained(path)
    transformers.ViTImageProcessor(size={"height": 48, "width": 48}).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of eight, of noise."""
    folder = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    for i in range(8):
        Image.fromarray(draw.integers(0, 256, (60, 50, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.mark.slow
def test_a_run_makes_a_variant_an_artifact_and_a_score(vit, photos, tmp_path, inside):
    out = tmp_path / "out"
    done = inside("run", vit, "-p", "int8,fuse", "-o", out, "--samples", 4, "--eval", photos)
    assert done.returncode == 0, done.stderr
    variant = out / "int8-fuse"
    manifest = json.loads((variant / "compress.json").read_text())
    assert manifest["calibration"] == "made images (1/f noise), seed 0, 4 images of 48×48 pixels"
    assert (variant / "preprocessor_config.json").is_file()
    assert (variant / "onnx" / "preprocessor_config.json").is_file()
    card = json.loads((out / "report.json").read_text())
    assert (card["kind"], card["windows"]) == ("image-classifier", [8, 1])
    assert f"evaluated on {photos.name}, 8 images of 48×48 pixels" in card["notes"]
    original, plain, small = (row["measures"] for row in card["rows"])
    assert original["kl"]["value"] == 0
    assert plain["kl"]["value"] < 1e-9
    assert 0 < small["kl"]["value"] < 0.05
    assert small["images_ps"]["value"] > 0
    assert "batched, images/s" in done.stdout
    report = (out / "report.md").read_text()
    assert "Latency: one image, 20 times a round; images/s: batches of 8." in report
    assert "Accuracy: 8 images; the classes' probabilities" in report
    classes = "".join(run_card_examples(variant)).splitlines()[-2:]
    assert classes[0].removeprefix("LABEL_") == classes[1].strip("[]")


REFUSED = {
    "gguf": (["-p", "int4", "--target", "gguf"], "gguf can't hold "),
    "tensorrt": (["-p", "int8", "--target", "tensorrt"], "tensorrt cannot export vit models; use --target hf"),
    "labels": (["-p", "fuse", "--labels", "labels.tsv"], "--labels takes labeled text, and VIT reads images; leave"),
    "length": (["-p", "int8", "--length", "64"], "--length counts tokens, and VIT reads images; remove --length"),
    "lengths": (["-p", "int8", "--seq", "64"], "VIT is a vision model; remove --seq, --batch, --beams and --sample"),
    "cache": (["-p", "fuse:kv=int8"], "fuse: an encoder keeps no keys and values; leave out kv=int8"),
    "heads": (["-p", "prune:what=heads"], "prune: the config of a ViTForImageClassification can't say fewer heads "),
    "text": (["-p", "int8", "--calibration", "EMPTY/no.txt"], "is neither a folder of images nor an .npy file of them"),
    "a folder without images": (["-p", "int8", "--calibration", "EMPTY"], "EMPTY holds no images (bmp, gif, "),
    "a figure of text": (["-p", "int8", "--require", "decode_tps>=1"], "decode_tps is no metric of image-classifiers;"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", REFUSED)
def test_mistakes_cost_no_work(vit, tmp_path, inside, mistake):
    (empty := tmp_path / "empty").mkdir()
    options, message = REFUSED[mistake]
    out = tmp_path / "out"
    done = inside("run", vit, *(option.replace("EMPTY", str(empty)) for option in options), "-o", out)
    assert done.returncode == 2
    assert message.replace("EMPTY", str(empty)).replace("VIT", str(vit)) in done.stderr.replace("\n", " ")
    assert not out.exists()


def test_other_graphs_and_other_heads_are_refused(vit, tmp_path, inside):
    out = tmp_path / "out"
    assert inside("run", vit, "-p", "fp16", "--target", "hf", "--no-score", "-o", out).returncode == 0
    done = inside("export", out / "fp16", "--graph", "built")
    assert done.returncode == 4
    assert "cannot build an ONNX graph of vit models" in done.stderr
    done = inside("generate", out / "fp16", "what")
    assert done.returncode == 3
    assert "can't generate text: it has no decoder for onnxruntime-genai" in done.stderr
    with pytest.raises(
        UsageError, match="--tasks is for decoders, and .* is of the kind image-classifier; leave it out"
    ):
        read_tasks(["arc_easy"], Model.open(str(vit)))
    bare = tmp_path / "bare"
    transformers.ViTModel(transformers.ViTConfig(**SHAPE)).save_pretrained(bare)
    done = inside("run", bare, "-p", "int8", "-o", out)
    assert done.returncode == 3
    assert "ViTModel is not supported; of this model_type ViTForImageClassification is" in done.stderr


def test_an_interrupt_while_scoring_tells_how_to_go_on(llama, tmp_path, inside, monkeypatch):
    """The variants are there: what is left is a score, with the options of the run."""

    def interrupted(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    monkeypatch.setattr("compress.cli.run.steps.score_variants", interrupted)
    text, out = tmp_path / "a text.txt", tmp_path / "out"
    text.write_text("the quick brown fox jumps over a lazy dog while seven wizards box daily " * 400)
    done = inside("run", llama, "-p", "fp16", "-o", out, "--target", "hf", "--eval", text)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == (
        "compress: interrupted; no partial output was left behind; the variants are complete: `compress score "
        f"{out / 'fp16'} --target hf --eval '{text}'` measures them"
    )
    assert (out / "fp16" / "compress.json").is_file()


def test_images_that_calibrate_are_no_evaluation(vit, photos, tmp_path, inside):
    """Of two folders that share one of their images."""
    (other := tmp_path / "other").mkdir()
    for i in (3, 4):
        pixels = np.full((60, 50, 3), 40 * i, dtype=np.uint8)
        Image.fromarray(pixels).save(other / f"{i}.png")
    (other / "again.png").write_bytes((photos / "5.png").read_bytes())
    run = ("run", vit, "-p", "int8", "-o", tmp_path / "out", "--calibration", photos)
    done = inside(*run, "--eval", other)
    assert done.returncode == 2
    assert f"the evaluation on other is on what calibrated the variants ({photos}): 1 of 3 images" in done.stderr
    done = inside(*run, "--eval", other, "--allow-overlap", "--eval-windows", 4)
    assert (done.returncode, done.stderr) == (2, f"compress: {other} has 3 images, too few for 4\n")
    done = inside(*run, "--samples", 9, "--no-score")
    assert (done.returncode, done.stderr) == (2, f"compress: {photos} has 8 images, too few for 9\n")
