"""transformers' private API does what it is used for here."""

import logging

import torch
from transformers import LlamaForCausalLM, MarianMTModel

from compress.formats.compressed_tensors import quantization_config
from compress.modeling.transformers_private import (
    attention_backend,
    computed_on_load,
    follows_padding,
    init_module,
    load_on_meta,
    not_saved,
    on_meta,
    supports_attention_backend,
    t5_position_buckets,
)
from compress.weights.stored import PER_CHANNEL, StoredForm
from tests.support.checkpoints import build


def test_modules_on_meta_have_no_numbers_until_they_are_filled():
    config = build("LlamaForCausalLM").config
    with on_meta():
        module = LlamaForCausalLM(config)
    assert all(tensor.is_meta for tensor in [*module.parameters(), *module.buffers()])
    norm = module.model.norm.to_empty(device="cpu")
    norm.weight.data.zero_()
    init_module(module, norm)
    assert torch.equal(norm.weight, torch.ones(32))
    assert not torch.ones(1).is_meta


def test_tensors_that_checkpoints_may_lack_are_those_of_the_class():
    tables = {f"model.{stack}.embed_positions.weight" for stack in ("encoder", "decoder")}
    assert set(computed_on_load(MarianMTModel)) == {"final_logits_bias", *tables}
    assert set(not_saved(MarianMTModel)) == tables
    assert (computed_on_load(LlamaForCausalLM), not_saved(LlamaForCausalLM)) == ((), ())


def test_attention_is_ours_inside_alone():
    module, calls = build("LlamaForCausalLM"), []
    ids = torch.arange(5, 10)[None]
    assert supports_attention_backend(LlamaForCausalLM)
    with torch.no_grad():
        expected = module(ids, use_cache=False).logits

        def attend(layer, query, key, value, mask, **options):
            calls.append(mask)
            repeat = query.shape[1] // key.shape[1]
            key, value = (t.repeat_interleave(repeat, 1) for t in (key, value))
            output = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            return output.transpose(1, 2).contiguous(), None

        with attention_backend(module, "ours", attend, lambda *args, **options: None):
            inside = module(ids, use_cache=False).logits
        assert len(calls) == 2
        assert calls == [None, None]
        assert torch.allclose(inside, expected, atol=1e-5)
        assert torch.equal(module(ids, use_cache=False).logits, expected)
    assert len(calls) == 2


def test_t5_tells_sides_apart_in_encoders_and_distances_up_to_the_longest():
    distances = torch.tensor([-40, -20, -1, 0, 1, 20, 40])
    encoder = t5_position_buckets(distances, 32, 20, both_sides=True).tolist()
    assert encoder[0] == encoder[1] == 15 and encoder[-2] == encoder[-1] == 31
    assert encoder[2:5] == [1, 0, 17]
    decoder = t5_position_buckets(distances, 32, 20, both_sides=False).tolist()
    assert decoder[:2] == [31, 31] and decoder[2:] == [1, 0, 0, 0, 0]


def test_a_module_that_a_checkpoint_has_and_a_class_has_not_is_told_in_no_log(caplog):
    """As compressed-tensors tells of the head of a model whose head is tied."""
    form = StoredForm(form="quantized", shape=(96, 32), nbytes=96 * 36, bits=8, group=PER_CHANNEL)
    settings = build("LlamaForCausalLM").config.to_dict()
    settings["quantization_config"] = quantization_config({"absent.weight": form}, [], "0.15.0")
    loading = load_on_meta(LlamaForCausalLM, settings, {})
    assert loading.error is None
    assert "model.norm.weight" in loading.missing
    assert caplog.records == []
    logging.getLogger("compressed_tensors.utils.match").warning("Could not match `absent`")
    assert len(caplog.records) == 1


def test_positions_behind_padding_are_told_by_the_models_code():
    assert follows_padding("transformers.models.roberta.configuration_roberta")
    assert not follows_padding("transformers.models.llama.configuration_llama")
    assert not follows_padding("transformers.models.internlm3.configuration_internlm3")
