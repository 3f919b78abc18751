"""Encoder-decoders in ONNX Runtime against the same in torch."""

import numpy as np
import pytest

from compress.benchmarks.engines.seq2seq.ort_cpu import OrtCpuSeq2SeqEngine
from compress.benchmarks.engines.seq2seq.torch import TorchSeq2SeqEngine
from compress.checkpoint.model import Model
from compress.errors import RunError
from compress.export.targets.base import find_target
from compress.modeling.kinds import SEQ2SEQ
from compress.progress import Silent

PROMPT = np.random.default_rng(0).integers(5, 300, 12)


@pytest.fixture(scope="module")
def engines(random_model, tmp_path_factory):
    sizes = {"d_model": 64, "d_ff": 96, "d_kv": 16, "num_heads": 4, "num_layers": 1}
    path, out = (
        random_model("T5ForConditionalGeneration", decoder_start_token_id=2, **sizes),
        tmp_path_factory.mktemp("t5"),
    )
    find_target("ort-cpu").export(Model.open(str(path)), (), out, Silent())
    return OrtCpuSeq2SeqEngine(out, SEQ2SEQ, 1), TorchSeq2SeqEngine(path, SEQ2SEQ, 1)


def test_a_step_needs_a_prompt(engines):
    with pytest.raises(RunError, match="before the prompt"):
        engines[0].step(1)


def test_both_write_the_same(engines):
    written = []
    for engine in engines:
        tokens = [engine.start(PROMPT, 5)]
        while len(tokens) < 6:
            tokens.append(engine.step(tokens[-1]))
        written.append(tokens)
    assert written[0] == written[1]
    assert engines[0].token_bytes() == engines[1].token_bytes() == 2 * 64 * 4


def test_a_window_is_scored_the_same_after_another(engines):
    for ids in (PROMPT, PROMPT[::-1].copy()):
        ort, reference = (engine.logits(ids) for engine in engines)
        assert ort == pytest.approx(reference, abs=1e-3)
