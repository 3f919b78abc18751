"""Beam search and sampling choose what transformers chooses; batches and reordered caches say what single rows say."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM
from transformers.generation import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from compress.benchmarks.engines.ort_cpu import OrtCpuEngine
from compress.benchmarks.engines.torch import TorchEngine
from compress.benchmarks.runtime.decoding import (
    BeamSearch,
    Greedy,
    Sampled,
    Sampling,
    candidates,
    pick_token,
)
from compress.benchmarks.runtime.engine import BatchedEngine
from compress.checkpoint.model import Model
from compress.errors import RunError
from compress.export.targets.base import find_target
from compress.modeling.kinds import DECODER
from compress.passes.fuse import Fuse
from compress.progress import Silent

STEPS = 8


@pytest.fixture(scope="module")
def llama_int8_cache(llama, tmp_path_factory):
    out = tmp_path_factory.mktemp("int8-cache")
    return find_target("ort-cpu").export(Model.open(str(llama)), [Fuse(kv="int8")], out, Silent())


@pytest.fixture(params=["torch", "fused", "plain"])
def engine(request, llama, llama_fused, llama_plain):
    if request.param == "torch":
        return TorchEngine(llama, DECODER, 1)
    return OrtCpuEngine((llama_fused if request.param == "fused" else llama_plain).path, DECODER, 1)


@pytest.fixture(scope="module")
def module(llama):
    return AutoModelForCausalLM.from_pretrained(llama)


def written(decoding, prompts, steps=STEPS):
    decoding.start(prompts, steps)
    for _ in range(steps):
        decoding.step()
    return decoding.written


def generated(module, prompts, **options):
    """What transformers writes, ``[b, STEPS + 1]``; no token ends the text."""
    ids = torch.from_numpy(prompts)
    options |= {"max_new_tokens": STEPS + 1, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    return module.generate(ids, attention_mask=torch.ones_like(ids), **options)[:, prompts.shape[1] :].numpy()


def test_greedy_in_batches_is_that_of_transformers(engine, module, tokens):
    prompts = tokens[:3, :20]
    assert written(Greedy(engine), prompts).tolist() == generated(module, prompts).tolist()


@pytest.mark.parametrize("beams", [1, 2, 4])
def test_beam_search_is_that_of_transformers(engine, module, tokens, beams):
    for row in tokens:
        prompt = row[None, :20]
        beams_written = written(BeamSearch(engine, beams), prompt)
        expected = generated(module, prompt, num_beams=beams, num_return_sequences=beams)
        assert beams_written.tolist() == expected.tolist()


def test_beam_search_differs_from_greedy(engine, tokens):
    """Else the test above would show little."""
    prompts = tokens[:, :20]
    greedy = written(Greedy(engine), prompts)
    beams = [written(BeamSearch(engine, 4), prompt[None])[0] for prompt in prompts]
    assert any(first.tolist() != other.tolist() for first, other in zip(greedy, beams, strict=True))


def test_an_int8_cache_is_reordered_too(llama_int8_cache, tokens):
    engine = OrtCpuEngine(llama_int8_cache.path, DECODER, 1)
    engine.begin(tokens[:2, :20], 4)
    engine.reorder(np.array([1, 0, 1]))
    again = engine.append(np.array([5, 6, 7]))
    for row, token, logits in zip((1, 0, 1), (5, 6, 7), again, strict=True):
        engine.begin(tokens[row : row + 1, :20], 4)
        assert logits == pytest.approx(engine.append(np.array([token]))[0], abs=1e-4)


def test_memory_of_large_batches_is_given_back_and_the_model_goes_on(engine, tokens):
    first = engine.begin(tokens, 2)
    engine.release()
    assert engine.begin(tokens, 2) == pytest.approx(first, abs=1e-6)


def test_every_runtime_here_runs_batches(engine):
    assert isinstance(engine, BatchedEngine)


def test_nothing_is_reordered_before_a_prompt(llama_fused):
    with pytest.raises(RunError, match="before the prompt"):
        OrtCpuEngine(llama_fused.path, DECODER, 1).reorder(np.array([0]))


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(), Sampling(top_k=1), Sampling(top_k=0), Sampling(top_k=1000), Sampling(top_k=0, top_p=0.3),
        Sampling(top_k=20, top_p=0.9, temperature=0.7), Sampling(top_p=1e-6), Sampling(temperature=2.0),
    ],
)  # fmt: skip
def test_candidates_are_those_of_transformers(sampling):
    logits = np.random.default_rng(0).normal(0, 3, (20, 97)).astype(np.float32)
    logits[:, 50] = logits[:, 51]  # as likely as each other
    scores = TemperatureLogitsWarper(sampling.temperature)(None, torch.from_numpy(logits))
    if sampling.top_k:
        scores = TopKLogitsWarper(sampling.top_k)(None, scores)
    if sampling.top_p < 1:
        scores = TopPLogitsWarper(sampling.top_p)(None, scores)
    for row, expected in zip(logits, scores.softmax(-1).numpy(), strict=True):
        tokens, likely = candidates(row, sampling)
        assert sorted(tokens.tolist()) == np.flatnonzero(expected).tolist()
        assert likely == pytest.approx(expected[tokens], rel=1e-5)


def test_draws_have_the_probabilities():
    tokens, likely = np.array([7, 3, 9]), np.array([0.2, 0.3, 0.5])
    assert [pick_token(tokens, likely, place) for place in (0.0, 0.19, 0.21, 0.49, 0.51, 1.0)] == [7, 7, 3, 3, 9, 9]


def test_a_seed_repeats_and_top_1_is_greedy(engine, tokens):
    prompts = tokens[:2, :20]
    first, same, other = (written(Sampled(engine, Sampling(temperature=1.5), seed), prompts) for seed in (0, 0, 1))
    assert first.tolist() == same.tolist() != other.tolist()
    assert written(Sampled(engine, Sampling(top_k=1), 0), prompts).tolist() == written(Greedy(engine), prompts).tolist()
