"""A model's outputs from what its last layer left: those of the model itself, whatever is behind its layers."""

import pytest
import torch

from compress.calibration.data import BATCH
from compress.calibration.original_outputs import OriginalOutputs
from compress.checkpoint.model import Model
from compress.modeling.seq2seq import decoder_inputs
from compress.progress import Silent
from tests.support.tensors import token_ids

pytestmark = pytest.mark.usefixtures("exact_products")
TOKENS = token_ids(3, 10)


@pytest.mark.parametrize(
    ("name", "options", "output"),
    [
        ("LlamaForCausalLM", {"tie_word_embeddings": True}, "logits"),
        ("LlamaForCausalLM", {"tie_word_embeddings": False}, "logits"),
        ("Gemma2ForCausalLM", {"final_logit_softcapping": 0.1}, "logits"),
        ("BertModel", {}, "last_hidden_state"),
        ("BertForSequenceClassification", {}, "logits"),
    ],
)
def test_outputs_are_the_models_own(tiny, name, options, output):
    model = Model.open(str(tiny(name, **options)))
    check(model, output)


def test_a_decoders_outputs_are_the_models_own(random_model):
    path = random_model(
        "T5ForConditionalGeneration", d_model=32, d_ff=64, d_kv=8, num_heads=4, num_layers=2, decoder_start_token_id=2
    )
    check(Model.open(str(path)), "logits")


def check(model, output):
    outputs = OriginalOutputs(model, TOKENS, Silent())
    for batch, tokens in enumerate(TOKENS.split(BATCH)):
        arguments = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        if model.kind.is_seq2seq:
            arguments["decoder_input_ids"] = decoder_inputs(model.config, tokens)
        with torch.no_grad():
            exact = getattr(model.torch_module()(**arguments), output)
        torch.testing.assert_close(getattr(outputs.output(batch, arguments), output), exact, rtol=1e-5, atol=1e-6)
