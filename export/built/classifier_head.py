"""The head of a classifier, put behind the base model's graph: mobius builds no heads for these families."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from onnx_ir.tape import Tape
from transformers import PretrainedConfig

from compress.modeling.classifier import classifier_class, is_token_classifier, label_names
from compress.modeling.families import FAMILIES

Layers = tuple[tuple[str, str | None], ...]
"""Linears in order by their names in the checkpoint, each with the operator that follows on it."""

_DENSE: Layers = (("classifier.dense", "Tanh"), ("classifier.out_proj", None))
_SEQUENCE: Mapping[str, Layers] = {
    "bert": (("bert.pooler.dense", "Tanh"), ("classifier", None)),
    "roberta": _DENSE,
    "mpnet": _DENSE,
    "distilbert": (("pre_classifier", "Relu"), ("classifier", None)),
}
"""By model type, what reads the first token's hidden state."""
_TOKEN: Layers = (("classifier", None),)
"""What reads every token's."""


def append_head(model: ir.Model, config: PretrainedConfig) -> None:
    """Put the head that a config's class has behind the hidden states, which ``logits`` then take the place of.

    They are ``[b, labels]``, or ``[b, s, labels]`` where tokens are classified. Weights are initializers without values
    by the checkpoint's names, as those of the graph before it are. A class without a head leaves the graph as it is.
    """
    head = classifier_class(FAMILIES[config.model_type].cls, config.architectures)
    if head is None:
        return
    graph, tape, labels = model.graph, Tape(), len(label_names(config))
    x = graph.outputs[0]
    lead = list(x.shape)[:2] if x.shape is not None else [None, None]
    if not is_token_classifier(head):
        first = tape.initializer(ir.tensor(np.array(0), name="head.first"))
        x, lead = tape.op("Gather", [x, first], {"axis": 1}), lead[:1]
    for name, activation in _TOKEN if is_token_classifier(head) else _SEQUENCE[config.model_type]:
        outputs = config.hidden_size if activation else labels
        x = _linear(tape, graph, name, x, outputs, config.hidden_size)
        if activation:
            x = tape.op(activation, [x])
    x.name, x.type, x.shape = "logits", ir.TensorType(ir.DataType.FLOAT), ir.Shape([*lead, labels])
    for value in tape.initializers:
        graph.initializers.add(value)
    graph.extend(tape.nodes)
    graph.outputs[0] = x


def _linear(tape: Tape, graph: ir.Graph, name: str, x: ir.Value, outputs: int, inputs: int) -> ir.Value:
    """``x @ weight.T + bias``, in the shape of nodes that lowering looks for."""
    weight, bias = _weight(graph, f"{name}.weight", [outputs, inputs]), _weight(graph, f"{name}.bias", [outputs])
    turned = tape.op("Transpose", [weight], {"perm": [1, 0]})
    return tape.op("Add", [tape.op("MatMul", [x, turned]), bias])


def _weight(graph: ir.Graph, name: str, shape: list[int]) -> ir.Value:
    value = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(shape))
    graph.initializers.add(value)
    return value
