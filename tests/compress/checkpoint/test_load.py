"""A checkpoint in transformers' module, in the type that is asked for, with the way it generates."""

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from compress.checkpoint.model import Model
from tests.support.models import copy_checkpoint
from tests.support.tensors import token_ids

TOKENS = token_ids(2, 8)


def test_the_module_is_transformers_own(llama, tmp_path):
    path = copy_checkpoint(llama, tmp_path / "m")
    GenerationConfig(max_new_tokens=7).save_pretrained(path)
    module, theirs = Model.open(path).torch_module(), AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    assert not module.training
    assert module.generation_config.max_new_tokens == 7
    assert module.get_input_embeddings().weight is module.get_output_embeddings().weight
    with torch.no_grad():
        assert torch.equal(module(TOKENS).logits, theirs(TOKENS).logits)


def test_weights_have_the_type_that_is_asked_for(llama):
    module = Model.open(llama).torch_module(torch.bfloat16)
    assert {parameter.dtype for parameter in module.parameters()} == {torch.bfloat16}
