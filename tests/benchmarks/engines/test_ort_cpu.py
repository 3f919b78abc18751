"""Both engines do the same thing: logits, greedy decoding with a cache, sentence embeddings."""

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

from compress.benchmarks.engines.ort_cpu import OrtCpuEngine
from compress.benchmarks.engines.torch import TorchEngine
from compress.checkpoint.model import Model
from compress.errors import RunError
from compress.export.targets.base import find_target
from compress.modeling.kinds import CLASSIFIER, DECODER, ENCODER
from compress.passes.fuse import Fuse
from compress.progress import Silent
from tests.support.sentences import NORMALIZE, cls_pooling, dense, save_sentence_encoder

LAYERS, KV_HEADS, HEAD_SIZE = 2, 2, 16


@pytest.fixture(params=["torch", "fused", "plain"])
def decoder(request, llama, llama_fused, llama_plain):
    if request.param == "torch":
        return TorchEngine(llama, DECODER, 1)
    return OrtCpuEngine((llama_fused if request.param == "fused" else llama_plain).path, DECODER, 1)


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
    ids = np.concatenate([prompt, chosen[:-1]])
    assert chosen == direct_logits(llama, ids)[19:].argmax(-1).tolist()
    assert decoder.token_bytes() == LAYERS * 2 * KV_HEADS * HEAD_SIZE * 4


def test_a_new_prompt_forgets_the_last_one(decoder, tokens):
    first = [decoder.start(tokens[0], 1), decoder.step(3)]
    decoder.start(tokens[1], 4)
    assert [decoder.start(tokens[0], 1), decoder.step(3)] == first


def test_the_attention_operator_decides_who_owns_the_cache(llama_fused, llama_plain):
    assert OrtCpuEngine(llama_fused.path, DECODER, 1)._shares
    assert not OrtCpuEngine(llama_plain.path, DECODER, 1)._shares


def test_a_cache_in_one_buffer_gives_the_very_logits_of_one_that_is_copied(llama_fused, tokens):
    """For a batch, and for rows that beams copy, drop and reorder."""
    shared, copied = (OrtCpuEngine(llama_fused.path, DECODER, 1) for _ in range(2))
    copied._shares = False
    written = []
    for engine in (shared, copied):
        logits = [engine.begin(tokens[:2, :20], 6), engine.append(tokens[:2, 20])]
        engine.reorder(np.array([1, 1, 0]))
        logits += [engine.append(tokens[:3, 21]), engine.append(tokens[:3, 22])]
        written.append(np.concatenate(logits))
    np.testing.assert_array_equal(*written)


def test_one_graph_generates_and_the_other_gives_all_logits(llama, tokens, tmp_path):
    """They take turns; a cache goes with its graph."""
    find_target("ort-cpu").export(Model.open(str(llama)), [Fuse()], tmp_path, Silent())
    engine, expected = OrtCpuEngine(tmp_path, DECODER, 1), direct_logits(llama, tokens[0])
    for _ in range(2):
        assert engine.begin(tokens[:1], 4)[0] == pytest.approx(expected[-1], abs=1e-4)
        assert (engine._loaded, engine.append(tokens[0, :1]).shape) == ("model_last_token.onnx", (1, len(expected[0])))
        assert engine.logits(tokens[0]) == pytest.approx(expected, abs=1e-4)
        with pytest.raises(RunError, match="before the prompt"):
            engine.append(tokens[0, :1])


def test_an_int8_cache_takes_a_quarter_of_the_bytes_and_decodes_the_same(llama, tokens, tmp_path):
    artifact = find_target("ort-cpu").export(Model.open(str(llama)), [Fuse(kv="int8")], tmp_path, Silent())
    engine = OrtCpuEngine(artifact.path, DECODER, 1)
    prompt = tokens[1][:20]
    chosen = [engine.start(prompt, 6)]
    for _ in range(6):
        chosen.append(engine.step(chosen[-1]))
    ids = np.concatenate([prompt, chosen[:-1]])
    assert engine.token_bytes() == LAYERS * 2 * KV_HEADS * HEAD_SIZE
    assert chosen == engine.logits(ids)[19:].argmax(-1).tolist()
    expected = direct_logits(llama, ids)
    assert 0 < np.linalg.norm(engine.logits(ids) - expected) / np.linalg.norm(expected) < 0.05


def test_a_step_needs_a_prompt(llama_fused):
    with pytest.raises(RunError, match="before the prompt"):
        OrtCpuEngine(llama_fused.path, DECODER, 1).step(1)


def test_embeddings_are_those_of_transformers(bert, bert_plain, tokens):
    mask = np.ones_like(tokens)
    mask[1, 25:] = 0
    with torch.inference_mode():
        output = AutoModel.from_pretrained(bert)(torch.from_numpy(tokens), torch.from_numpy(mask)).last_hidden_state
    expected = torch.stack([output[i, : mask[i].sum()].mean(0) for i in range(len(tokens))]).numpy()
    for engine in (TorchEngine(bert, ENCODER, 1), OrtCpuEngine(bert_plain.path, ENCODER, 1)):
        assert engine.embed(tokens, mask) == pytest.approx(expected, abs=1e-4)


def test_classes_of_a_pair_agree_with_transformers(tiny, tokens, tmp_path):
    path = tiny("BertForSequenceClassification", num_labels=3)
    find_target("ort-cpu").export(Model.open(str(path)), (), tmp_path, Silent())
    mask, kinds = np.ones_like(tokens), np.zeros_like(tokens)
    mask[2, 30:] = 0
    kinds[:, 10:] = 1
    module = AutoModelForSequenceClassification.from_pretrained(path).eval()
    with torch.inference_mode():
        read = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": kinds}
        expected = module(**{name: torch.from_numpy(array) for name, array in read.items()}).logits.numpy()
    for engine in (TorchEngine(path, CLASSIFIER, 1), OrtCpuEngine(tmp_path, CLASSIFIER, 1)):
        assert engine.classify(tokens, mask, kinds) == pytest.approx(expected, abs=1e-4)


def test_sentences_are_embedded_by_the_models_own_modules(bert, tmp_path):
    path = save_sentence_encoder(tmp_path / "model", bert, [cls_pooling(), dense(64, 8), NORMALIZE])
    model = Model.open(path)
    (tmp_path / "onnx").mkdir()
    find_target("ort-cpu").export(model, (), tmp_path / "onnx", Silent())
    ids = np.random.default_rng(0).integers(3, 60, (2, 12))
    mask = np.ones_like(ids)
    mask[1, 5:] = 0
    with torch.inference_mode():
        hidden = AutoModel.from_pretrained(path)(torch.from_numpy(ids), torch.from_numpy(mask)).last_hidden_state
    expected = model.sentence.chain.embed(hidden, torch.from_numpy(mask)).numpy()
    assert expected.shape == (2, 8)
    for engine in (TorchEngine(path, ENCODER, 1), OrtCpuEngine(tmp_path / "onnx", ENCODER, 1)):
        assert engine.embed(ids, mask) == pytest.approx(expected, abs=1e-5)
