"""llama.cpp against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compress.benchmarks.runtime.load import load_engine
from compress.checkpoint.model import Model
from compress.export.gguf.file import write_gguf
from compress.modeling.kinds import DECODER

WINDOW = np.arange(3, 33, dtype=np.int64)


@pytest.fixture(scope="module")
def model(tiny):
    return Model.open(str(tiny("LlamaForCausalLM", tie_word_embeddings=True)))


@pytest.fixture(scope="module")
def untied_model(tiny):
    return Model.open(str(tiny("LlamaForCausalLM", tie_word_embeddings=False)))


@pytest.mark.parametrize("kind", ["model", "untied_model"])
def test_llama_cpp_computes_what_torch_does_from_the_float_file(kind, request, tmp_path):
    pytest.importorskip("llama_cpp")
    model = request.getfixturevalue(kind)
    write_gguf(model, tmp_path / "model.gguf", tokenizer=False)
    engine = load_engine("llama.cpp", tmp_path, DECODER, 1)
    with torch.inference_mode():
        expected = model.torch_module()(torch.from_numpy(WINDOW)[None]).logits[0].numpy()
    logits = engine.logits(WINDOW)
    assert np.abs(logits - expected).max() < 5e-3 * np.abs(expected).max()  # its cache is float16
    assert engine.start(WINDOW, 4) == int(logits[-1].argmax())
    assert engine.step(int(WINDOW[0])) == int(engine.logits(np.append(WINDOW, WINDOW[0]))[-1].argmax())
    assert engine.token_bytes() == 2 * 2 * 2 * 16 * 2
