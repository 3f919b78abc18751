"""What the README claims of accuracy and size, on the demo checkpoints. Speed is `make bench`'s business."""

from __future__ import annotations

import contextlib
import shlex
from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from compress.benchmarks.engines.ort_cpu import OrtCpuEngine
from compress.checkpoint.demo.text import calibration_text, demo_text, evaluation_text
from compress.checkpoint.files.artifact import Artifact
from compress.checkpoint.files.summary import fallback_notice
from compress.checkpoint.model import Model
from compress.checkpoint.variant import Variant
from compress.corpus.windows import WindowSize, windows
from compress.modeling.kinds import DECODER, ENCODER
from tests.support.cli import few_rounds, run_cli
from tests.whole.test_commands_in_docs import DEMO_COMMAND

pytestmark = pytest.mark.slow
WINDOWS = 4
SAMPLES = 8
"""Windows that 4 bits are solved on; 128 by default."""
REST = "*.layers.1?.*+*.layers.2?.*"
"""The layers that stay float where 4 bits are solved."""


def make(out, name, *pipelines, options=("--no-score",)):
    words = [word for pipeline in pipelines for word in ("--pipeline", pipeline)]
    done = run_cli(f"demo:{name}", *words, *options, "-o", out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def on_text(tmp_path_factory):
    """Options: a few windows of text to calibrate on, nothing scored."""
    text = tmp_path_factory.mktemp("text") / "calibration.txt"
    text.write_text(calibration_text())
    return ["--calibration", text, "--samples", SAMPLES, "--no-score"]


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory, on_text):
    """The docs' first command, scored, and two variants beside its own."""
    folder = tmp_path_factory.mktemp("smollm2")
    with few_rounds(windows=2), contextlib.chdir(folder):
        done = run_cli(*shlex.split(DEMO_COMMAND)[1:])
    assert done.returncode == 0, done.stderr
    (report,) = folder.rglob("report.json")
    return make(report.parent, "smollm2", "fuse", "int8:act=dynamic,fuse", options=on_text)


@pytest.fixture(scope="module")
def offgrid(tmp_path_factory, on_text):
    """Variants with 4 bits in the first ten of thirty layers; ``make bench`` measures those with all."""
    pipelines = f"int4:skip={REST},fuse", f"int4:rtn:skip={REST},fuse"
    return make(tmp_path_factory.mktemp("offgrid"), "smollm2-offgrid", *pipelines, options=on_text)


@pytest.fixture(scope="module")
def minilm(tmp_path_factory):
    return make(tmp_path_factory.mktemp("minilm"), "minilm", "int8,fuse")


@pytest.fixture(scope="module")
def held_out():
    model = Model.open("demo:smollm2")
    return windows(model.tokenizer(), evaluation_text(), WindowSize(WINDOWS, 512))


@pytest.fixture(scope="module")
def original(held_out):
    module = Model.open("demo:smollm2").torch_module()
    with torch.inference_mode():
        return loss([module(row[None]).logits[0] for row in held_out], held_out)


def loss(logits, ids):
    losses = [torch.nn.functional.cross_entropy(x[:-1].float(), row[1:]) for x, row in zip(logits, ids, strict=True)]
    return float(torch.stack(losses).mean())


@pytest.mark.parametrize(("slug", "most"), [("int8-fuse", 1.01), ("int8-act-dynamic-fuse", 1.05), ("fuse", 1.0001)])
def test_perplexity_of_the_artifact_on_held_out_text(smollm2, held_out, original, slug, most):
    engine = OrtCpuEngine(smollm2 / slug / "onnx", DECODER, 1)
    ratio = np.exp(loss([torch.from_numpy(engine.logits(row.numpy())) for row in held_out], held_out) - original)
    assert 0.99 < ratio < most


def test_four_bits_solved_on_a_sixteenth_of_the_usual_text_beat_rounding(offgrid, held_out, original):
    def ratio(variant):
        engine = OrtCpuEngine(variant / "onnx", DECODER, 1)
        return np.exp(loss([torch.from_numpy(engine.logits(row.numpy())) for row in held_out], held_out) - original)

    (variant,), (rounded,) = offgrid.glob("int4-skip-*"), offgrid.glob("int4-solver-rtn-skip-*")
    solved = ratio(variant)
    assert solved < 1.04
    assert solved - 1 < 0.7 * (ratio(rounded) - 1)
    manifest = Variant.open(variant).manifest
    assert manifest.bits_per_weight < 20.1  # twenty layers of 32 bits: 5.85 without them
    assert not fallback_notice(manifest)


def test_bytes_on_disk(smollm2):
    source = sum(file.stat().st_size for file in Model.open("demo:smollm2").shards.files)
    artifact = smollm2 / "int8-fuse" / "onnx"
    loaded = (artifact / "model.onnx").stat().st_size + (artifact / "model.onnx.data").stat().st_size
    assert loaded < 0.30 * source
    assert 8 * Artifact.open(artifact).stored_bytes / Artifact.open(artifact).parameters < 8.7
    assert (smollm2 / "int8-fuse" / "model.safetensors").stat().st_size < 0.33 * source


def test_operators_of_the_fused_graph(smollm2):
    graph = onnx.load(smollm2 / "fuse" / "onnx" / "model.onnx", load_external_data=False).graph
    served = [node for node in graph.node if not node.name.startswith("rotary.")]  # those are gone once it is loaded
    assert len(served) < 320
    counts = Counter(node.op_type for node in graph.node)
    per_layer = {"GroupQueryAttention": 1, "SkipSimplifiedLayerNormalization": 2, "QuickGelu": 1}
    assert {operator: counts[operator] for operator in per_layer} == {
        operator: 30 * count for operator, count in per_layer.items()
    }
    assert counts["MatMul"] == 4 * 30 + 1  # q/k/v are one product, and so are gate and up; the head


def test_transformers_loads_the_variant_and_writes(smollm2):
    path = smollm2 / "int8-fuse"
    module = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(path)
    ids = tokenizer("The capital of France is", return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(module(**ids).logits, Variant.open(path).torch_module()(**ids).logits)
    assert "Paris" in tokenizer.decode(module.generate(**ids, max_new_tokens=4, do_sample=False)[0])


def test_the_variant_writes_on_its_runtime(smollm2):
    prompt = "The capital of France is"
    done = run_cli("generate", smollm2 / "int8-fuse", prompt, "-n", 4)
    assert "Paris" in done.stdout


def test_calibration_and_evaluation_text_share_nothing():
    calibration, held_out = calibration_text(), evaluation_text()
    assert len(held_out) > 1_000_000
    assert calibration + held_out == demo_text()


def test_sentence_embeddings_stay_near_the_originals(minilm):
    model = Model.open("demo:minilm")
    rows = windows(model.tokenizer(), evaluation_text(), WindowSize(32, 128), closed=True)
    mask = torch.ones_like(rows)
    with torch.inference_mode():
        expected = model.torch_module()(input_ids=rows, attention_mask=mask).last_hidden_state.mean(1)
    actual = OrtCpuEngine(minilm / "int8-fuse" / "onnx", ENCODER, 1).embed(rows.numpy(), mask.numpy())
    assert torch.nn.functional.cosine_similarity(expected, torch.from_numpy(actual)).mean() > 0.995
