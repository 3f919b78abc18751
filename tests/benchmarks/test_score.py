"""A whole scoring run on tiny models."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM

from compress.benchmarks.contender import Contender
from compress.benchmarks.metric_table import metrics
from compress.benchmarks.score import score
from compress.benchmarks.scorecard import SCHEMA, Measure, Scorecard, Settings, ratio, summarize
from compress.errors import ModelError, RunError, UsageError
from compress.progress import Silent

QUICK = Settings(rounds=2, prompt=16, steps=4, prefill=32, runs=2, batch=2, warmup=1, pause=0.0, threads=1)


@pytest.fixture
def contenders(llama, llama_fused, llama_plain, of_checkpoint, of_artifact):
    return [
        of_checkpoint(llama, "decoder"),
        of_artifact(llama_plain, "onnx", "float"),
        of_artifact(llama_fused, "fuse"),
    ]


def test_a_decoder(contenders, llama, tokens, tmp_path):
    card = score(contenders, torch.from_numpy(tokens), QUICK, Silent(), model="tiny", command="compress tiny")
    assert [row.role for row in card.rows] == ["original", "float", "variant"]
    for row in card.rows:
        assert set(row.measures) == {metric.key for metric in metrics("decoder")}
        assert len(row.measures["decode_tps"].rounds) == 2
    with torch.inference_mode():
        ids = torch.from_numpy(tokens)
        logits = AutoModelForCausalLM.from_pretrained(llama)(ids).logits[:, :-1].double()
        nll = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).item()
    for row in card.rows:
        assert row.measures["perplexity"].value == pytest.approx(math.exp(nll), rel=1e-5)
        assert row.measures["perplexity_ratio"].value == pytest.approx(1.0, abs=1e-5)
        assert row.measures["kl"].value == pytest.approx(0.0, abs=1e-7)
        assert row.measures["top1"].value == 1.0
    assert card.original.measures["bits_per_weight"].value == pytest.approx(32, rel=0.01)
    assert card.row("fuse").measures["disk_bytes"].value == contenders[2].disk_bytes
    assert card.float_export is card.rows[1]
    card.save(tmp_path / "card.json")
    assert Scorecard.open(tmp_path / "card.json") == card


def test_an_encoder(bert, bert_plain, of_checkpoint, of_artifact, tokens):
    mask = np.ones_like(tokens)
    mask[2, 30:] = 0
    pair = [of_checkpoint(bert, "encoder"), of_artifact(bert_plain, "onnx", "float")]
    card = score(pair, tokens, QUICK, mask=mask)
    for row in card.rows:
        assert set(row.measures) == {metric.key for metric in metrics("encoder")}
        assert row.measures["cosine"].value == pytest.approx(1.0, abs=1e-6)


def test_figures_of_accuracy_repeat_to_the_bit(contenders, tokens):
    keys = ("perplexity", "kl", "top1")
    runs = [score(contenders, tokens, QUICK) for _ in range(2)]
    assert len({json.dumps([[row.measures[key].value for key in keys] for row in run.rows]) for run in runs}) == 1


def test_a_changed_weight_shows(contenders, llama_fused, tokens, tmp_path, of_artifact):
    shutil.copytree(llama_fused.path, tmp_path / "worse")
    data = tmp_path / "worse" / "model.onnx.data"
    weights = np.fromfile(data, np.float32)
    (weights * np.random.default_rng(0).normal(1, 0.3, weights.shape).astype(np.float32)).tofile(data)
    worse = of_artifact(dataclasses.replace(llama_fused, path=tmp_path / "worse"), "worse")
    row = score([*contenders, worse], tokens, QUICK).row("worse")
    assert row.measures["kl"].value > 0.01
    assert row.measures["top1"].value < 1
    assert not row.unchanged


def test_a_variant_that_changed_nothing_is_known(contenders, llama_plain, of_artifact, tokens):
    card = score([*contenders, of_artifact(llama_plain, "same")], tokens, QUICK)
    assert [row.unchanged for row in card.rows] == [False, False, False, True]


def test_a_broken_variant_ends_the_run(contenders, tokens, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"broken")
    broken = dataclasses.replace(contenders[2], name="broken", path=tmp_path)
    with pytest.raises(RunError, match="broken"):
        score([*contenders, broken], tokens, QUICK)


def test_nonsense_is_refused(contenders, bert_plain, of_artifact, tokens):
    with pytest.raises(UsageError, match="first contender"):
        score(contenders[1:], tokens, QUICK)
    with pytest.raises(UsageError, match="two contenders are called 'onnx'"):
        score([*contenders, contenders[1]], tokens, QUICK)
    with pytest.raises(UsageError, match="don't mix"):
        score([contenders[0], of_artifact(bert_plain, "bert")], tokens, QUICK)
    with pytest.raises(UsageError, match="at least two tokens"):
        score(contenders, tokens[:0], QUICK)


def test_prompts_fit_the_windows():
    assert Settings().within(512, "decoder") == Settings()
    small = Settings().within(64, "decoder")
    assert (small.prompt, small.steps, small.prefill) == (32, 32, 64)
    assert Settings().within(128, "encoder").prompt == 128


def test_nothing_to_load_is_told(tmp_path, llama_plain):
    with pytest.raises(ModelError, match="nothing to load"):
        Contender.of_artifact(dataclasses.replace(llama_plain, path=tmp_path), "x", "")
    with pytest.raises(ModelError, match="tensorrt"):
        Contender.of_artifact(dataclasses.replace(llama_plain, target="tensorrt"), "x", "")


def test_the_original_takes_its_sizes_from_its_weights(llama, monkeypatch):
    class Checkpoint:
        path, kind = llama, "decoder"

    contender = Contender.of_checkpoint(Checkpoint(), 1234)
    assert contender.disk_bytes == (llama / "model.safetensors").stat().st_size
    assert (contender.parameters, contender.role, contender.engine) == (1234, "original", "torch")


def test_ratios_are_taken_round_by_round(card):
    drifting = card(torch={"decode_tps": [10.0, 20.0, 40.0]}, onnx={"decode_tps": [20.0, 40.0, 80.0]})
    found = ratio(drifting.rows[1], drifting.rows[0], "decode_tps")
    assert (found.value, found.spread, found.rounds) == (2.0, 0.0, (2.0, 2.0, 2.0))
    assert ratio(drifting.rows[1], drifting.rows[0], "ttft") is None


def test_summaries():
    found = summarize([1.0, 2.0, 3.0, 4.0, 100.0])
    assert (found.value, found.spread) == (3.0, 1.0)
    assert summarize([1.0, 3.0], value=9.0).value == 9.0


def test_other_files_are_no_scorecards(tmp_path, card):
    file = tmp_path / "report.json"
    with pytest.raises(UsageError, match="not a scorecard"):
        Scorecard.open(file)
    data = json.loads(card(torch={}).model_dump_json())
    file.write_text(json.dumps(data | {"schema_version": SCHEMA + 1}))
    with pytest.raises(UsageError, match="schema 1"):
        Scorecard.open(file)


def test_a_measure_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Measure(value=1.0).value = 2.0
