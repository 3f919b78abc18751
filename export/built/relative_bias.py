"""MPNet's attention (Song et al., arXiv 2004.09297): a learned bias for each head and range of distances."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch
from onnx_ir.tape import Tape
from transformers import PretrainedConfig

from compress.modeling.architecture import longest_input
from compress.modeling.classifier import classifier_class
from compress.modeling.families import FAMILIES

_TABLE = "encoder.relative_attention_bias.weight"


def relative_bias(tape: Tape, graph: ir.Graph, ids: ir.Value, config: PretrainedConfig) -> ir.Value:
    """What is added to every head's score of each key for each query, ``[1, heads, s, s]``.

    The range that a distance falls in is transformers' own.
    """
    from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

    buckets, longest = config.relative_attention_num_buckets, longest_input(config)
    distances = torch.arange(1 - longest, longest)  # from a query to a key
    known = MPNetEncoder.relative_position_bucket(distances, num_buckets=buckets).numpy()
    shape = ir.Shape((buckets, config.num_attention_heads))
    owner = "mpnet." if classifier_class(FAMILIES["mpnet"].cls, config.architectures) else ""
    table = ir.Value(name=f"{owner}{_TABLE}", type=ir.TensorType(ir.DataType.FLOAT), shape=shape)
    graph.initializers.add(table)

    def constant(name: str, array: np.ndarray) -> ir.Value:
        return tape.initializer(ir.tensor(array, name=f"relative.{name}"))

    zero, one, last = (constant(str(number), np.array(number)) for number in (0, 1, longest - 1))
    length = tape.op("Squeeze", [tape.op("Shape", [ids], {"start": 1, "end": 2})])
    keys = tape.op("Range", [zero, length, one])
    queries = tape.op("Unsqueeze", [tape.op("Sub", [keys, last]), constant("axis", np.array([1]))])
    bucket = tape.op("Gather", [constant("buckets", known), tape.op("Sub", [keys, queries])])
    rows = tape.op("Gather", [table, bucket])
    turned = tape.op("Transpose", [rows], {"perm": [2, 0, 1]})
    return tape.op("Unsqueeze", [turned, constant("batch", np.array([0]))])
