"""What mobius's attention leaves out, added to its graphs: padding on either side and sliding windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.tape import Tape
from transformers import PretrainedConfig

_FAR = 1e9  # finite: a query that is padding itself sees nothing else, and a softmax over -inf is NaN


def mend_attention(model: ir.Model, config: PretrainedConfig) -> None:
    """Make every attention node keep to ``attention_mask`` wherever the padding is, and to its layer's window."""
    graph = model.graph
    nodes = [node for node in graph if node.op_type in ("Attention", "GroupQueryAttention")]
    if not nodes:
        return
    tape = Tape()
    mask = next(value for value in graph.inputs if value.name == "attention_mask")
    if nodes[0].op_type == "GroupQueryAttention":
        _mask_grouped(tape, nodes, mask, graph.inputs[0])
        for node, window in zip(nodes, _windows(config, len(nodes)), strict=True):
            if window:
                node.attributes["local_window_size"] = ir.AttrInt64("local_window_size", window)
    else:
        _mask_standard(tape, nodes, mask, _windows(config, len(nodes)))
    graph.insert_before(nodes[0], tape.nodes)
    for value in tape.initializers:
        graph.initializers.add(value)


def _windows(config: PretrainedConfig, layers: int) -> list[int]:
    """How far back each layer sees; 0 where it sees everything."""
    window = getattr(config, "sliding_window", None) or 0
    if window >= config.max_position_embeddings:
        window = 0
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"] * layers
    return [window if kind == "sliding_attention" else 0 for kind in kinds]


def _mask_standard(tape: Tape, nodes: list[ir.Node], mask: ir.Value, windows: list[int]) -> None:
    """Give standard Attention the bool masks it means: mobius hands encoders' int64 ``[b, s]`` on as it is."""
    padding = nodes[0].inputs[3]
    if padding is mask:
        seen = tape.op("Cast", [mask], {"to": int(ir.DataType.BOOL)})
        padding = tape.op("Unsqueeze", [seen, _constant(tape, np.array([1, 2]))])
        for node in nodes:
            node.replace_input_with(3, padding)
    assert padding is not None
    for window in sorted(set(windows) - {0}):
        near = tape.op("And", [padding, _near(tape, padding, window)])
        for node, own in zip(nodes, windows, strict=True):
            if own == window:
                node.replace_input_with(3, near)


def _near(tape: Tape, padding: ir.Value, window: int) -> ir.Value:
    """Bool ``[s, t]``: which of t keys lie less than ``window`` behind each of the last s of them."""
    zero, one, axis = (_constant(tape, np.array(array)) for array in (0, 1, [1]))
    total = tape.op("Squeeze", [tape.op("Shape", [padding], {"start": 3, "end": 4})])
    length = tape.op("Squeeze", [tape.op("Shape", [padding], {"start": 2, "end": 3})])
    keys = tape.op("Range", [zero, total, one])
    queries = tape.op("Range", [tape.op("Sub", [total, length]), total, one])
    oldest = tape.op("Sub", [queries, _constant(tape, np.array(window))])
    return tape.op("Greater", [keys, tape.op("Unsqueeze", [oldest, axis])])


def _mask_grouped(tape: Tape, nodes: list[ir.Node], mask: ir.Value, ids: ir.Value) -> None:
    """Let GroupQueryAttention skip padding by a bias; by itself it takes the first ``sum(mask)`` tokens for real."""
    real = tape.op("Cast", [mask], {"to": int(ir.DataType.FLOAT)})
    hidden = tape.op("Sub", [real, _constant(tape, np.array(1, np.float32))])
    far = tape.op("Mul", [hidden, _constant(tape, np.array(_FAR, np.float32))])
    wide = tape.op("Unsqueeze", [far, _constant(tape, np.array([1, 2]))])
    ones = _constant(tape, np.array([1, 1]))
    length = tape.op("Shape", [ids], {"start": 1, "end": 2})
    bias = tape.op("Expand", [wide, tape.op("Concat", [ones, length, _constant(tape, np.array([1]))], {"axis": 0})])
    last = tape.op("Sub", [nodes[0].inputs[6], _constant(tape, np.array(1, np.int32))])
    lengths = tape.op("Expand", [last, tape.op("Shape", [ids], {"start": 0, "end": 1})])
    for node in nodes:
        node.resize_inputs(11)
        node.replace_input_with(5, lengths)
        node.replace_input_with(10, bias)


def _constant(tape: Tape, array: NDArray[Any]) -> ir.Value:
    return tape.initializer(ir.tensor(array, name=f"mask.constant.{len(tape.initializers)}"))
