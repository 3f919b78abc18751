"""Encoder-decoders in transformers as an engine, against ``generate`` and a forward pass."""

import numpy as np
import pytest
import torch

from compress.benchmarks.engines.seq2seq.torch import TorchSeq2SeqEngine
from compress.benchmarks.runtime.engine import BatchedEngine
from compress.checkpoint.model import Model
from compress.errors import RunError
from compress.modeling.kinds import SEQ2SEQ

LAYERS, WIDTH = 2, 64
PROMPTS = np.random.default_rng(0).integers(5, 300, (3, 12))


@pytest.fixture(scope="module")
def t5(random_model):
    sizes = {"d_model": WIDTH, "d_ff": 96, "d_kv": 16, "num_heads": 4, "num_layers": LAYERS}
    return random_model("T5ForConditionalGeneration", decoder_start_token_id=2, **sizes)


@pytest.fixture(scope="module")
def module(t5):
    return Model.open(str(t5)).torch_module()


@pytest.fixture
def engine(t5):
    return TorchSeq2SeqEngine(t5, SEQ2SEQ, 1)


def generated(module, prompts, steps):
    ids = torch.from_numpy(prompts)
    options = {"max_new_tokens": steps, "do_sample": False, "num_beams": 1, "eos_token_id": None}
    return module.generate(ids, attention_mask=torch.ones_like(ids), **options)[:, 1:].tolist()


def test_it_writes_what_transformers_writes(engine, module):
    tokens = [engine.start(PROMPTS[0], 5)]
    while len(tokens) < 6:
        tokens.append(engine.step(tokens[-1]))
    assert [tokens] == generated(module, PROMPTS[:1], 6)
    assert engine.token_bytes() == LAYERS * 2 * WIDTH * 4


def test_rows_of_a_batch_are_reordered_with_what_the_encoder_read(engine, module):
    assert isinstance(engine, BatchedEngine)
    first = engine.begin(PROMPTS, 2).argmax(-1)
    engine.reorder(np.array([2, 0]))
    second = engine.append(first[[2, 0]]).argmax(-1)
    expected = generated(module, PROMPTS, 2)
    assert [first[2], second[0]] == expected[2]
    assert [first[0], second[1]] == expected[0]


def test_row_i_of_a_windows_logits_is_for_token_i_plus_1(engine, module):
    ids = torch.from_numpy(PROMPTS[1])[None]
    start = torch.tensor([[module.config.decoder_start_token_id]])
    with torch.inference_mode():
        expected = module(input_ids=ids, decoder_input_ids=torch.cat([start, ids[:, :-1]], 1)).logits[0].numpy()
    logits = engine.logits(PROMPTS[1])
    assert logits[:-1] == pytest.approx(expected[1:], abs=1e-5)
    assert (logits[-1] == logits[-2]).all()


def test_writing_a_token_reads_the_decoder_and_the_head_alone(engine, module):
    """No cross-attention keys and values, which are cached, and no encoder; the tied embedding is the head."""
    decoder = {name: weight for name, weight in module.decoder.named_parameters() if "embed_tokens" not in name}
    cached = ("EncDecAttention.k.weight", "EncDecAttention.v.weight")
    read = sum(weight.nbytes for name, weight in decoder.items() if not name.endswith(cached))
    assert engine.read_bytes() == read + module.shared.weight.nbytes


def test_nothing_is_reordered_before_a_prompt(engine):
    with pytest.raises(RunError, match="before the prompt"):
        engine.reorder(np.array([0]))
