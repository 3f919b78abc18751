"""A whole scoring run on tiny models."""

import dataclasses
import math
import shutil

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM

from compress.benchmarks import score
from compress.benchmarks.data.evaluation import Evaluation
from compress.benchmarks.measure.accuracy import measure_accuracy
from compress.benchmarks.results.method import method_facts
from compress.benchmarks.results.metrics import metrics
from compress.benchmarks.results.phases import overhead
from compress.benchmarks.results.report_file import read_card, report_text
from compress.benchmarks.results.scorecard import Settings
from compress.benchmarks.runtime.decoding import Sampling
from compress.benchmarks.score import RunInfo, score_contenders
from compress.benchmarks.worker.client import Worker
from compress.errors import UsageError
from compress.modeling.kinds import DECODER, ENCODER
from compress.progress import Silent

pytestmark = pytest.mark.slow
QUICK = Settings(
    launches=2, rounds=2, patience=0.0,
    prompt=16, steps=4, prefill=32, runs=2, batch=2, warmup=1, threads=1, price_per_hour=0.36,
    lengths=(16, 32), batches=(1, 3), longest=34, beams=2, sampling=Sampling(top_k=5),
)  # fmt: skip


@pytest.fixture(scope="module")
def contenders(llama, llama_fused, llama_plain, of_checkpoint, of_artifact):
    return [
        of_checkpoint(llama, DECODER),
        of_artifact(llama_plain, "onnx", "float"),
        of_artifact(llama_fused, "fuse"),
    ]


@pytest.fixture(scope="module")
def worse(llama_fused, of_artifact, tmp_path_factory):
    """The fused graph with every weight off by 30 %."""
    path = tmp_path_factory.mktemp("worse") / "onnx"
    shutil.copytree(llama_fused.path, path)
    weights = np.fromfile(path / "model.onnx.data", np.float32)
    weights *= np.random.default_rng(0).normal(1, 0.3, weights.shape).astype(np.float32)
    weights.tofile(path / "model.onnx.data")
    return of_artifact(dataclasses.replace(llama_fused, path=path), "worse")


@pytest.fixture(scope="module")
def scored(contenders, worse, llama_plain, of_artifact, tokens):
    every = [*contenders, worse, of_artifact(llama_plain, "same")]
    return score_contenders(
        every, Evaluation.of_text(torch.from_numpy(tokens)), QUICK, Silent(), RunInfo("tiny", "compress tiny")
    )


def test_every_row_has_every_metric(scored, contenders):
    assert [row.role for row in scored.rows] == ["original", "float", "variant", "variant", "variant"]
    for row in scored.rows:
        assert set(row.measures) == {metric.key for metric in metrics(DECODER) if not metric.device}
        for key in ("prefill_tps", "decode_tps"):
            assert list(map(len, row.measures[key].launches)) == [QUICK.rounds] * QUICK.launches
        rates, costs = (np.array(row.measures[key].launches) for key in ("decode_tps", "cost"))
        assert costs == pytest.approx(0.0001 * 1e6 / rates, rel=1e-12)
        assert len(row.measures["load_s"].launches) == len(row.measures["load_cold_s"].launches) == 1
    assert scored.original.measures["bits_per_weight"].value == pytest.approx(32, rel=0.01)
    assert scored.original.measures["other_bytes"].value == 0
    fused = contenders[2]
    assert scored.row("fuse").measures["disk_bytes"].value == fused.disk_bytes
    assert scored.row("fuse").measures["other_bytes"].value == fused.disk_bytes - fused.stored_bytes
    assert scored.float_export is scored.rows[1]


def test_every_length_is_measured_in_every_batch(scored):
    speeds = {"ttft", "prefill_tps", "decode_tps", "itl_p50", "itl_p95", "itl_p99"}
    for row in scored.rows:
        assert [(cell.length, cell.batch) for cell in row.cells] == [(16, 1), (16, 3), (32, 1), (32, 3)]
        for cell in row.cells:
            assert set(cell.measures) == speeds
            seconds, rates = (np.array(cell.measures[key].launches) for key in ("ttft", "prefill_tps"))
            assert seconds.shape == (QUICK.launches, QUICK.rounds)
            assert seconds * rates == pytest.approx(np.full(seconds.shape, cell.length * cell.batch))
    at = scored.at(32, 3)
    assert at.original.measures == scored.original.cells[3].measures
    assert at.rows[2].name == scored.rows[2].name
    assert scored.at(99, 1).original.measures == {}


def test_it_is_told_where_the_time_went(scored):
    assert set(scored.seconds) == {
        "bandwidth", "load", "warm-up", "speed", "accuracy", "summing up"
    }  # fmt: skip
    assert min(scored.seconds.values()) > 0
    besides = sum(scored.seconds.values()) - scored.seconds["speed"] - scored.seconds["accuracy"]
    assert overhead(scored.seconds) == pytest.approx(besides)
    fact = next(line for line in method_facts(scored) if line.startswith("Scoring took"))
    assert f"s besides (bandwidth {scored.seconds['bandwidth']:.1f}, load " in fact
    assert not any("Scoring took" in line for line in method_facts(scored.model_copy(update={"seconds": {}})))


def test_accuracy_is_what_transformers_says(scored, llama, tokens):
    with torch.inference_mode():
        ids = torch.from_numpy(tokens)
        logits = AutoModelForCausalLM.from_pretrained(llama)(ids).logits[:, :-1].double()
        nll = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).item()
    for row in scored.rows[:3]:
        assert row.measures["perplexity"].value == pytest.approx(math.exp(nll), rel=1e-5)
        assert row.measures["perplexity_ratio"].value == pytest.approx(1.0, abs=1e-5)
        assert row.measures["kl"].value == pytest.approx(0.0, abs=1e-7)
        assert row.measures["top1"].value == 1.0
        assert row.measures["retention"].value == pytest.approx(1.0, abs=1e-5)


def test_changed_weights_show(scored):
    row = scored.row("worse")
    assert row.measures["kl"].value > 0.01
    assert row.measures["top1"].value < 1
    assert row.measures["retention"].value == pytest.approx(
        min(1 / row.measures["perplexity_ratio"].value, math.exp(-row.measures["kl"].value)), rel=1e-12
    )
    assert 0 < row.measures["kl"].value < row.measures["kl_p99"].value
    assert len(row.measures["kl_p99"].windows) == 4


def test_a_variant_that_changed_nothing_is_known(scored):
    assert [row.name for row in scored.rows if row.unchanged] == ["same"]


def test_a_report_names_no_directory_of_what_was_made_for_it_alone(scored):
    assert [row.path == "" for row in scored.rows] == [row.role == "float" for row in scored.rows]


def test_a_card_comes_back_from_its_file(scored, tmp_path):
    (tmp_path / "card.json").write_text(report_text([scored]))
    assert read_card(tmp_path / "card.json") == scored


def test_accuracy_repeats_to_the_bit(scored, contenders, worse, tokens):
    with Worker(contenders[0], QUICK.threads) as original, Worker(worse, QUICK.threads) as other:
        again = measure_accuracy([original, other], Evaluation.of_text(tokens), Silent()).measures
    for row, measures in zip((scored.original, scored.row("worse")), again, strict=True):
        assert {key: row.measures[key] for key in measures} == measures


def test_an_encoder(bert, bert_plain, of_checkpoint, of_artifact, tokens, monkeypatch):
    monkeypatch.setattr(score, "read_bandwidth", lambda threads: 1e10)  # of which no figure of an encoder is a share
    mask = np.ones_like(tokens)
    mask[2, 30:] = 0
    pair = [of_checkpoint(bert, ENCODER), of_artifact(bert_plain, "onnx", "float")]
    card = score_contenders(pair, Evaluation.of_text(tokens, mask), QUICK)
    for row in card.rows:
        assert set(row.measures) == {metric.key for metric in metrics(ENCODER) if not (metric.labeled or metric.device)}
        assert [(cell.length, cell.batch) for cell in row.cells] == [(16, 1), (16, 3), (32, 1), (32, 3)]
        assert {key for cell in row.cells for key in cell.measures} == {"latency_p50", "latency_p95", "sentences_ps"}
        assert row.measures["cosine"].value == pytest.approx(1.0, abs=1e-6)
        least = min(row.measures["cosine"], row.measures["cosine_centered"], key=lambda measure: measure.value)
        assert row.measures["retention"].value == least.value
        assert row.measures["retention"].windows == least.windows
        rates, costs = (np.array(row.measures[key].launches) for key in ("sentences_ps", "cost"))
        assert costs == pytest.approx(0.0001 * 1e6 / (16 * rates), rel=1e-12)
    bare = QUICK.model_copy(update={"price_per_hour": None, "lengths": (), "batches": ()})
    alone = [of_artifact(bert_plain, "onnx", "original")]  # one process, without torch
    free = score_contenders(alone, Evaluation.of_text(tokens), bare)
    assert "cost" not in free.original.measures


def test_nonsense_is_refused(contenders, bert_plain, of_artifact, tokens):
    with pytest.raises(UsageError, match="first contender"):
        score_contenders(contenders[1:], Evaluation.of_text(tokens), QUICK)
    with pytest.raises(UsageError, match="two contenders are called 'onnx'"):
        score_contenders([*contenders, contenders[1]], Evaluation.of_text(tokens), QUICK)
    with pytest.raises(UsageError, match="don't mix"):
        score_contenders([contenders[0], of_artifact(bert_plain, "bert")], Evaluation.of_text(tokens), QUICK)
    with pytest.raises(UsageError, match="at least two tokens"):
        score_contenders(contenders, Evaluation.of_text(tokens[:0]), QUICK)
