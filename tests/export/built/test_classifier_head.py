"""Heads of classifiers, run on hidden states, against the head of the torch model."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
import transformers

from compress.export.built.classifier_head import append_head
from tests.support.graphs import empty_graph, operators, run
from tests.support.tensors import gaussian

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "num_labels": 5}
DISTIL = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16, "num_labels": 5}


def headed(name, sizes):
    """A random model of that class, and the graph that its base model ends in with the head appended."""
    cls = getattr(transformers, name)
    torch.manual_seed(0)
    module = cls(cls.config_class(**sizes, vocab_size=32, architectures=[name])).eval()
    graph = empty_graph(states=ir.DataType.FLOAT)
    graph.outputs.append(graph.inputs[0])
    append_head(ir.Model(graph, ir_version=11), module.config)
    for weight, value in graph.initializers.items():
        if value.const_value is None:
            value.const_value = ir.tensor(module.get_parameter(weight).detach().numpy())
    return module, graph


@pytest.mark.parametrize(("name", "sizes"), [
    ("BertForSequenceClassification", SIZES), ("RobertaForSequenceClassification", SIZES),
    ("MPNetForSequenceClassification", SIZES), ("DistilBertForSequenceClassification", DISTIL),
    ("BertForTokenClassification", SIZES), ("DistilBertForTokenClassification", DISTIL),
])  # fmt: skip
def test_logits_are_those_of_torchs_head(name, sizes):
    module, graph = headed(name, sizes)
    states = gaussian(3, 7, 16)
    (logits,) = run(graph, states=states.numpy())
    base = transformers.modeling_outputs.BaseModelOutputWithPooling
    pool = getattr(module.base_model, "pooler", None)
    with torch.no_grad():
        pooled = None if pool is None else pool(states)
        module.base_model.forward = lambda *args, **options: base(last_hidden_state=states, pooler_output=pooled)
        expected = module(torch.zeros(3, 7, dtype=torch.long)).logits.numpy()
    assert graph.outputs[0].name == "logits"
    assert logits.shape == expected.shape
    assert np.abs(logits - expected).max() < 1e-5


def test_a_base_model_keeps_its_output():
    _, graph = headed("BertModel", {key: size for key, size in SIZES.items() if key != "num_labels"})
    assert graph.outputs[0] is graph.inputs[0]
    assert operators(graph) == []
