"""How models are called and what they return, by kind; their distance against torch's own divergence."""

import pytest
import torch
from torch.nn import functional

from compress.calibration.predictions import model_arguments, prediction, prediction_loss
from compress.checkpoint.model import Model
from tests.support.tensors import token_ids

TOKENS = token_ids(2, 10)


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [
        ("LlamaForCausalLM", {"input_ids", "attention_mask", "use_cache"}, (2, 10)),
        ("BertModel", {"input_ids", "attention_mask"}, (2, 10, 64)),
        ("T5ForConditionalGeneration", {"input_ids", "attention_mask", "decoder_input_ids", "use_cache"}, (2, 10)),
    ],
)
def test_a_model_is_called_by_its_kind(tiny, name, arguments, shape):
    model = Model.open(str(tiny(name)))
    call = model_arguments(model.architecture, TOKENS)
    assert call.keys() == arguments
    with torch.no_grad():
        output = prediction(model.architecture, model.torch_module()(**call))
    assert output.shape[: len(shape)] == shape


@pytest.mark.parametrize(("name", "divergence"), [("untied", True), ("bert", False)])
def test_the_distance_is_a_divergence_where_there_is_a_head(request, name, divergence):
    architecture = Model.open(str(request.getfixturevalue(name))).architecture
    output, exact = torch.randn(2, 2, 300, 17, generator=torch.Generator().manual_seed(0))
    logs = output.log_softmax(-1), exact.log_softmax(-1)
    if divergence:
        expected = functional.kl_div(*logs, log_target=True, reduction="none").sum(-1).mean()
    else:
        expected = ((output - exact).square().sum(-1) / exact.square().sum(-1)).mean()
    assert float(prediction_loss(architecture, output, exact)) == pytest.approx(float(expected), rel=1e-5)
