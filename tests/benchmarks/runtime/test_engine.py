"""Both engines do the same thing: logits, greedy decoding with a cache, sentence embeddings."""

import numpy as np
import onnxruntime as ort
import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

from compress.benchmarks.engines.ort import OrtEngine, session
from compress.benchmarks.engines.ort_cuda import PROVIDER, OrtCudaEngine
from compress.benchmarks.engines.pytorch import TorchEngine
from compress.benchmarks.runtime.engine import mean_pooled, opener
from compress.checkpoint.model import Model
from compress.errors import MissingComponentError, RunError
from compress.export.targets.base import find_target
from compress.modeling.kinds import CLASSIFIER, DECODER, ENCODER
from compress.passes.fuse import Fuse
from compress.progress import Silent

LAYERS, KV_HEADS, HEAD_SIZE = 2, 2, 16


@pytest.fixture(params=["torch", "fused", "plain"])
def decoder(request, llama, llama_fused, llama_plain):
    if request.param == "torch":
        return TorchEngine(llama, DECODER, 1)
    return OrtEngine((llama_fused if request.param == "fused" else llama_plain).path, DECODER, 1)


def direct_logits(llama, ids):
    with torch.inference_mode():
        return AutoModelForCausalLM.from_pretrained(llama)(torch.from_numpy(ids)[None]).logits[0].numpy()


def test_logits_are_those_of_transformers(decoder, llama, tokens):
    assert decoder.logits(tokens[0]) == pytest.approx(direct_logits(llama, tokens[0]), abs=1e-4)


def test_decoding_with_a_cache_equals_one_forward(decoder, llama, tokens):
    prompt = tokens[1][:20]
    chosen = [decoder.start(prompt, 6)]
    for _ in range(6):
        chosen.append(decoder.step(chosen[-1]))
    whole = np.concatenate([prompt, chosen[:-1]])
    assert chosen == direct_logits(llama, whole)[19:].argmax(-1).tolist()
    assert decoder.token_bytes == LAYERS * 2 * KV_HEADS * HEAD_SIZE * 4


def test_a_new_prompt_forgets_the_last_one(decoder, tokens):
    first = [decoder.start(tokens[0], 1), decoder.step(3)]
    decoder.start(tokens[1], 4)
    assert [decoder.start(tokens[0], 1), decoder.step(3)] == first


def test_the_attention_operator_decides_who_owns_the_cache(llama_fused, llama_plain):
    assert OrtEngine(llama_fused.path, DECODER, 1)._shares
    assert not OrtEngine(llama_plain.path, DECODER, 1)._shares


def test_an_int8_cache_takes_a_quarter_of_the_bytes_and_decodes_the_same(llama, tokens, tmp_path):
    artifact = find_target("ort-cpu").export(Model.open(str(llama)), [Fuse(kv="int8")], tmp_path, Silent())
    engine = OrtEngine(artifact.path, DECODER, 1)
    prompt = tokens[1][:20]
    chosen = [engine.start(prompt, 6)]
    for _ in range(6):
        chosen.append(engine.step(chosen[-1]))
    whole = np.concatenate([prompt, chosen[:-1]])
    assert engine.token_bytes == LAYERS * 2 * KV_HEADS * HEAD_SIZE
    assert chosen == engine.logits(whole)[19:].argmax(-1).tolist()
    expected = direct_logits(llama, whole)
    assert 0 < np.linalg.norm(engine.logits(whole) - expected) / np.linalg.norm(expected) < 0.05


def test_a_step_needs_a_prompt(llama_fused):
    with pytest.raises(RunError, match="before the prompt"):
        OrtEngine(llama_fused.path, DECODER, 1).step(1)


def test_torch_reads_everything_but_the_embedding_table(llama):
    module = AutoModelForCausalLM.from_pretrained(llama)
    table = module.get_input_embeddings().weight.nbytes
    expected = sum(p.nbytes for p in module.parameters()) - table
    assert TorchEngine(llama, DECODER, 1).read_bytes == expected


def test_embeddings_are_those_of_transformers(bert, bert_plain, tokens):
    mask = np.ones_like(tokens)
    mask[1, 25:] = 0
    with torch.inference_mode():
        output = AutoModel.from_pretrained(bert)(torch.from_numpy(tokens), torch.from_numpy(mask)).last_hidden_state
    expected = torch.stack([output[i, : mask[i].sum()].mean(0) for i in range(len(tokens))]).numpy()
    for engine in (TorchEngine(bert, ENCODER, 1), OrtEngine(bert_plain.path, ENCODER, 1)):
        assert engine.embed(tokens, mask) == pytest.approx(expected, abs=1e-4)


def test_pooling_of_an_empty_sentence_is_zero():
    hidden = np.ones((1, 3, 2), np.float32)
    assert mean_pooled(hidden, np.zeros((1, 3), np.int64)).tolist() == [[0.0, 0.0]]


def test_unknown_engine():
    with pytest.raises(RunError, match="no engine runs 'tpu'"):
        opener("tpu")


def test_classes_of_a_pair_agree_with_transformers(tiny, tokens, tmp_path):
    path = tiny("BertForSequenceClassification", num_labels=3)
    find_target("ort-cpu").export(Model.open(str(path)), (), tmp_path, Silent())
    mask, kinds = np.ones_like(tokens), np.zeros_like(tokens)
    mask[2, 30:] = 0
    kinds[:, 10:] = 1
    module = AutoModelForSequenceClassification.from_pretrained(path).eval()
    with torch.inference_mode():
        read = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": kinds}
        expected = module(**{name: torch.from_numpy(each) for name, each in read.items()}).logits.numpy()
    for engine in (TorchEngine(path, CLASSIFIER, 1), OrtEngine(tmp_path, CLASSIFIER, 1)):
        assert engine.classify(tokens, mask, kinds) == pytest.approx(expected, abs=1e-4)


class Recording(OrtCudaEngine):
    """The engine for GPUs, its buffers and replays and all, on the CPU."""

    device, _arena = "cpu", "cpu:0"
    _fetch, _fetch_last = OrtEngine._fetch, OrtEngine._fetch_last

    def _open(self, file, threads):
        self._records = True
        return session(file, threads)


def written(engine, prompt, steps):
    chosen = [engine.start(prompt, steps)]
    for _ in range(steps):
        chosen.append(engine.step(chosen[-1]))
    return chosen


@pytest.fixture
def halves(llama, tmp_path):
    """A fused decoder for GPUs, which ort-cpu runs as well."""
    return find_target("ort-cuda").export(Model.open(str(llama)), [Fuse()], tmp_path, Silent()).path


def test_steps_that_are_recorded_write_the_same(halves, tokens):
    plain, recording = OrtEngine(halves, DECODER, 1), Recording(halves, DECODER, 1)
    plain.begin(tokens[:2, :20], 7)
    recording.begin(tokens[:2, :20], 7)
    for step in (tokens[:2, 20], tokens[:2, 21], tokens[:2, 22]):
        assert recording.append(step) == pytest.approx(plain.append(step), abs=1e-3)
    assert recording._made == 1
    for row, room in ((0, 6), (1, 6), (2, 9)):
        assert written(recording, tokens[row][:20], room) == written(plain, tokens[row][:20], room)
    assert recording._made == 3  # buffers of one size are used again
    assert recording.logits(tokens[0]) == pytest.approx(plain.logits(tokens[0]), abs=1e-3)
    for engine in (plain, recording):
        engine.begin(tokens[:2, :20], 4)
        engine.append(np.array([3, 4]))
        engine.reorder(np.array([1, 1, 0]))
    assert recording.append(np.array([5, 6, 7])) == pytest.approx(plain.append(np.array([5, 6, 7])), abs=1e-3)
    recording.begin(tokens[:1, :20], 0)
    recording.release()
    assert written(recording, tokens[0][:20], 6) == written(plain, tokens[0][:20], 6)


def test_a_batch_is_recorded_when_its_shape_comes_twice(bert_plain, tokens):
    plain, recording = OrtEngine(bert_plain.path, ENCODER, 1), Recording(bert_plain.path, ENCODER, 1)
    mask = np.ones_like(tokens)
    for rows in (slice(0, 2), slice(1, 3), slice(0, 1), slice(0, 2)):
        expected = plain.embed(tokens[rows], mask[rows])
        assert recording.embed(tokens[rows], mask[rows]) == pytest.approx(expected, abs=1e-5)
    assert recording._made == 1


@pytest.mark.skipif(PROVIDER in ort.get_available_providers(), reason="there is one")
def test_without_a_gpu_an_engine_for_one_is_a_missing_component(llama_fused):
    with pytest.raises(MissingComponentError, match=r"compress-models\[gpu\]"):
        OrtCudaEngine(llama_fused.path, DECODER, 1)
