"""Classification heads, appended to a base model's graph: mobius builds none for these families."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir
from transformers import PretrainedConfig

from compress.errors import ExportError
from compress.graph.builder import GraphBuilder
from compress.modeling.classifier import classifier_class, is_token_classifier, label_names
from compress.modeling.families import family_of

HeadLayers = tuple[tuple[str, str | None], ...]
"""Linears in order by their names in the checkpoint, each with the operator that follows on it."""

_DENSE: HeadLayers = (("classifier.dense", "Tanh"), ("classifier.out_proj", None))
_SEQUENCE: Mapping[str, HeadLayers] = {
    "bert": (("bert.pooler.dense", "Tanh"), ("classifier", None)),
    "roberta": _DENSE,
    "mpnet": _DENSE,
    "distilbert": (("pre_classifier", "Relu"), ("classifier", None)),
}
"""Head layers of sequence classifiers, which read the first token's hidden state, by model type."""
_TOKEN: HeadLayers = (("classifier", None),)
"""Head layers of token classifiers, which read every token's hidden state."""


def append_head(model: ir.Model, config: PretrainedConfig) -> None:
    """Append the classification head of a config's class; the graph's output is ``logits`` from then on.

    They are ``[b, labels]``, or ``[b, s, labels]`` where tokens are classified. Weights are initializers without values
    by the checkpoint's names, as those of the graph before it are. A class without a head leaves the graph as it is.
    """
    family = family_of(config.model_type)
    head = None if family is None else classifier_class(family.cls, config.architectures)
    if head is None:
        return
    if not is_token_classifier(head) and config.model_type not in _SEQUENCE:
        raise ExportError(f"the head of a {head} is unknown")
    graph, builder, labels = model.graph, GraphBuilder(model.graph), len(label_names(config))
    x = graph.outputs[0]
    lead = list(x.shape)[:2] if x.shape is not None else [None, None]
    if not is_token_classifier(head):
        x, lead = builder.op("Gather", x, builder.constant(0, "head.first"), axis=1), lead[:1]
    for name, activation in _TOKEN if is_token_classifier(head) else _SEQUENCE[config.model_type]:
        width = config.hidden_size if activation else labels
        weight = builder.weight(f"{name}.weight", [width, config.hidden_size])
        x = builder.linear(x, weight, builder.weight(f"{name}.bias", [width]))
        if activation:
            x = builder.op(activation, x)
    x.name, x.type, x.shape = "logits", ir.TensorType(ir.DataType.FLOAT), ir.Shape([*lead, labels])
    builder.append()
    graph.outputs[0] = x
