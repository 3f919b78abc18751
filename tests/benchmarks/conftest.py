"""Tiny models with random weights, as checkpoints and as ONNX artifacts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mobius
import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from compress.benchmarks.results.contender import Contender, Role
from compress.benchmarks.results.layer_errors import LayerErrors
from compress.benchmarks.results.scorecard import Scorecard
from compress.checkpoint.files.artifact import Artifact
from compress.checkpoint.model import Model
from compress.export.targets.base import find_target
from compress.modeling.kinds import DECODER, TaskKind
from compress.progress import Silent

VOCABULARY = 97


def _save(module: PreTrainedModel, path: Path) -> Path:
    module.save_pretrained(path)
    return path


def _decoder(checkpoint: Path, out: Path, provider: str) -> Artifact:
    mobius.build(str(checkpoint), execution_provider=provider, dtype="f32").save(str(out), progress_bar=False)
    weights = (out / "model.onnx.data").stat().st_size
    artifact = Artifact(out, "ort-cpu", DECODER, weights // 4, weights, weights)
    artifact.save()
    return artifact


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=False,
        initializer_range=0.2,  # logits far enough apart for two runtimes to agree on the largest
    )
    return _save(LlamaForCausalLM(config), tmp_path_factory.mktemp("llama") / "checkpoint")


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    return _save(BertModel(config, add_pooling_layer=False), tmp_path_factory.mktemp("bert") / "checkpoint")


@pytest.fixture(scope="session")
def llama_fused(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """With GroupQueryAttention: past and present share a buffer."""
    return _decoder(llama, tmp_path_factory.mktemp("llama-fused"), "cpu")


@pytest.fixture(scope="session")
def llama_plain(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """In standard operators: every step makes new tensors."""
    return _decoder(llama, tmp_path_factory.mktemp("llama-plain"), "default")


@pytest.fixture(scope="session")
def bert_plain(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    out = tmp_path_factory.mktemp("bert-plain")
    return find_target("ort-cpu").export(Model.open(str(bert)), (), out, Silent())


@pytest.fixture(scope="session")
def tokens() -> np.ndarray:
    return np.random.default_rng(0).integers(0, VOCABULARY, (4, 40))


@pytest.fixture(scope="session")
def of_checkpoint() -> Callable[[Path, TaskKind], Contender]:
    def make(path: Path, kind: TaskKind) -> Contender:
        size = (path / "model.safetensors").stat().st_size
        return Contender("torch", path, "torch", kind, "original", "", size // 4, size, size)

    return make


@pytest.fixture(scope="session")
def of_artifact() -> Callable[..., Contender]:
    def make(artifact: Artifact, name: str, role: Role = "variant") -> Contender:
        return Contender.of_artifact(artifact, name, name, role)

    return make


def _cell(first: float, decode: float) -> dict[str, list[float]]:
    return {
        "ttft": [first] * 3,
        "prefill_tps": [1 / first] * 3,
        "itl_p50": [1 / decode] * 3,
        "decode_tps": [decode] * 3,
    }


@pytest.fixture
def lengths_card(card: Callable[..., Scorecard]) -> Scorecard:
    """Twice as fast with fusion at 256 tokens, four times at 512; int8 is slower at prefill there."""
    plain = {
        (256, 1): _cell(0.2, 10.0),
        (256, 4): _cell(0.8, 20.0),
        (512, 1): _cell(0.4, 10.0),
        (512, 4): _cell(1.6, 20.0),
    }
    fused = {
        (256, 1): _cell(0.1, 11.0),
        (256, 4): _cell(0.4, 22.0),
        (512, 1): _cell(0.1, 12.0),
        (512, 4): _cell(0.8, 22.0),
    }
    int8 = {
        (256, 1): _cell(0.2, 30.0),
        (256, 4): _cell(1.0, 40.0),
        (512, 1): _cell(0.5, 30.0),
        (512, 4): _cell(1.6, 40.0),
    }
    errors = {"errors": LayerErrors("outputs", (0, 1), (0.01, 0.02))}
    rough = {"errors": LayerErrors("weights", (0, 1), (0.03, 0.05))}
    return card(torch=plain, onnx=plain, fuse=fused, int8=int8 | errors, int4=rough)
