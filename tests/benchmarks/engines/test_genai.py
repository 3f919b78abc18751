"""onnxruntime-genai's own loop against plain ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from compress.benchmarks.engines.ort_cpu import OrtCpuEngine
from compress.benchmarks.runtime.load import load_engine
from compress.checkpoint.model import Model
from compress.errors import RunError
from compress.export.targets.base import find_target
from compress.modeling.kinds import DECODER
from compress.progress import Silent

WINDOW = np.arange(3, 33, dtype=np.int64)


@pytest.fixture(scope="module")
def model(tiny):
    return Model.open(str(tiny("LlamaForCausalLM", tie_word_embeddings=True)))


def greedy(engine, steps):
    tokens = [engine.start(WINDOW, steps)]
    for _ in range(steps):
        tokens.append(engine.step(tokens[-1]))
    return tokens


@pytest.fixture(scope="module")
def engines(model, tmp_path_factory):
    """Of one artifact: genai's loop, and the engine that runs its graph step by step."""
    pytest.importorskip("onnxruntime_genai")
    out = tmp_path_factory.mktemp("onnx")
    find_target("ort-cpu").export(model, (), out, Silent())
    return load_engine("genai", out, DECODER, 1), OrtCpuEngine(out, DECODER, 1)


def test_both_write_the_same(engines):
    own, plain = engines
    assert greedy(own, 8) == greedy(plain, 8)
    assert np.abs(own.logits(WINDOW) - plain.logits(WINDOW)).max() < 1e-4
    assert own.token_bytes() == plain.token_bytes() == 2 * 2 * 2 * 16 * 4


def test_a_step_needs_a_prompt(engines, model, tmp_path):
    fresh = load_engine("genai", find_target("ort-cpu").export(model, (), tmp_path, Silent()).path, DECODER, 1)
    with pytest.raises(RunError, match="before the prompt"):
        fresh.step(1)
