"""What mobius 0.1.0 leaves out of its graphs, put in: padding on either side, windows, positions, biases of scores.

Each of these is proved by the parity gate; a version of mobius that does them itself makes the mend needless.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from onnx_ir.tape import Tape
from torch import Tensor
from transformers import PretrainedConfig

from compress.export.built.alibi import slopes
from compress.export.built.relative_bias import relative_bias
from compress.modeling.architecture import longest_input

_FAR = 1e9  # finite: a query that is padding itself sees nothing else, and a softmax over -inf is NaN
_MASK = 3
"""Which input of Attention is its mask."""
_ANGLES, _BIAS = (7, 8), 10
"""Which inputs of GroupQueryAttention are the tables that it rotates by, and what is added to its scores."""


def fix_graph(model: ir.Model, config: PretrainedConfig) -> None:
    """Make attention keep to ``attention_mask`` wherever the padding is and to each layer's window; shift positions.

    And make it scale, rotate and bias as the family does.
    """
    graph = model.graph
    tape = Tape()
    ids = graph.inputs[0]
    if config.model_type in ("roberta", "mpnet"):
        _shift_positions(tape, graph, ids, config.pad_token_id)
    nodes = [node for node in graph if node.op_type in ("Attention", "GroupQueryAttention")]
    mask, grouped = _attention_mask(graph, ids), nodes[0].op_type == "GroupQueryAttention"
    windows = _windows(config, len(nodes))
    if config.model_type == "gemma3_text":
        _scale_and_rotate(tape, nodes, config)
    biases = None
    if (falling := slopes(config)) is not None:
        biases = _alibi_bias(tape, mask, falling)
    elif config.model_type == "mpnet":
        biases = relative_bias(tape, graph, ids, config)
    if biases is not None:
        _bias(tape, nodes, mask, ids, biases)
    if grouped:
        _mask_grouped(tape, nodes, mask, ids, windows)
    elif biases is None:
        _mask_standard(tape, nodes, mask, ids, windows)
    for value in tape.initializers:
        graph.initializers.add(value)


def _scale_and_rotate(tape: Tape, nodes: list[ir.Node], config: PretrainedConfig) -> None:
    """Gemma 3 scales by a number of its own; and layers without a window rotate more slowly than those with one.

    Where attention rotates, mobius gives every layer the angles of the first.
    """
    from transformers.models.gemma3.modeling_gemma3 import Gemma3RotaryEmbedding

    make: Any = Gemma3RotaryEmbedding
    rotary = make(config)
    angles = torch.outer(torch.arange(longest_input(config)), rotary.full_attention_inv_freq)
    scaling = rotary.full_attention_attention_scaling
    tables = [_constant(tape, (turn(angles) * scaling).numpy()) for turn in (torch.cos, torch.sin)]
    for node, kind in zip(nodes, config.layer_types, strict=True):
        node.attributes["scale"] = ir.AttrFloat32("scale", config.query_pre_attn_scalar**-0.5)
        if node.op_type == "GroupQueryAttention" and kind == "full_attention":
            for i, table in zip(_ANGLES, tables, strict=True):
                node.replace_input_with(i, table)


def _alibi_bias(tape: Tape, mask: ir.Value, falling: Tensor) -> ir.Value:
    """Scores of every head fall with the distance of the key, ``[1, heads, 1, t]``; its order alone shows."""
    one = _constant(tape, np.array(1))
    total = tape.op("Squeeze", [tape.op("Shape", [mask], {"start": 1, "end": 2})])
    behind = tape.op("Range", [tape.op("Sub", [one, total]), one, one])
    far = tape.op("Cast", [behind], {"to": int(ir.DataType.FLOAT)})
    return tape.op("Mul", [far, _constant(tape, falling.view(1, -1, 1, 1).numpy())])


def _bias(tape: Tape, nodes: list[ir.Node], mask: ir.Value, ids: ir.Value, biases: ir.Value) -> None:
    """Add biases to what every layer scores keys with, and hide padding; a decoder's standard operators look back."""
    bias = tape.op("Add", [_expand_to_queries(tape, _padding_bias(tape, mask), ids), biases])
    for node in nodes:
        at = _BIAS if node.op_type == "GroupQueryAttention" else _MASK
        node.resize_inputs(max(at + 1, len(node.inputs)))
        node.replace_input_with(at, bias)
        if at == _MASK and len(node.outputs) > 1:
            node.attributes["is_causal"] = ir.AttrInt64("is_causal", 1)
    _insert(tape, nodes[0])


def _attention_mask(graph: ir.Graph, ids: ir.Value) -> ir.Value:
    """The graph's ``attention_mask``, made where the graph ignores padding altogether."""
    for value in graph.inputs:
        if value.name == "attention_mask":
            return value
    mask = ir.Value(name="attention_mask", type=ids.type, shape=ids.shape)
    graph.inputs.append(mask)
    return mask


def _windows(config: PretrainedConfig, layers: int) -> list[int]:
    """How far back each layer sees; 0 where it sees everything."""
    window = getattr(config, "sliding_window", None) or 0
    if window >= longest_input(config):
        window = 0
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"] * layers
    return [window if kind == "sliding_attention" else 0 for kind in kinds]


def _mask_standard(tape: Tape, nodes: list[ir.Node], mask: ir.Value, ids: ir.Value, windows: list[int]) -> None:
    """Give Attention the bool masks it means; mobius hands encoders' int64 ``[b, s]`` on as it is, or nothing."""
    first = nodes[0]
    padding = first.inputs[_MASK] if len(first.inputs) > _MASK else None
    biased = padding is not None and padding.dtype == ir.DataType.FLOAT
    if biased and len({id(node.inputs[_MASK]) for node in nodes}) > 1:
        return  # where mobius makes biases of the mask for each kind of layer, they have their windows
    if padding is None or padding is mask:
        padding = _expand_to_queries(tape, tape.op("Cast", [mask], {"to": int(ir.DataType.BOOL)}), ids)
    masks = {0: padding} | {window: _with_window(tape, padding, window, biased) for window in set(windows) - {0}}
    for node, window in zip(nodes, windows, strict=True):
        node.resize_inputs(max(_MASK + 1, len(node.inputs)))
        node.replace_input_with(_MASK, masks[window])
    _insert(tape, first)


def _with_window(tape: Tape, padding: ir.Value, window: int, biased: bool) -> ir.Value:
    """A mask, or a bias where it is ``biased``, that keeps to a window besides."""
    near = _window_mask(tape, padding, window)
    if biased:
        return tape.op("Where", [near, padding, _constant(tape, np.array(-_FAR, np.float32))])
    return tape.op("And", [padding, near])


def _padding_bias(tape: Tape, mask: ir.Value) -> ir.Value:
    """Float ``[b, t]``: 0 for what is text, very low for padding."""
    real = tape.op("Cast", [mask], {"to": int(ir.DataType.FLOAT)})
    low = tape.op("Sub", [real, _constant(tape, np.array(1, np.float32))])
    return tape.op("Mul", [low, _constant(tape, np.array(_FAR, np.float32))])


def _window_mask(tape: Tape, padding: ir.Value, window: int) -> ir.Value:
    """Bool ``[s, t]``: which of t keys lie less than ``window`` behind each of the last s of them."""
    zero, one, axis = (_constant(tape, np.array(array)) for array in (0, 1, [1]))
    total = tape.op("Squeeze", [tape.op("Shape", [padding], {"start": 3, "end": 4})])
    length = tape.op("Squeeze", [tape.op("Shape", [padding], {"start": 2, "end": 3})])
    keys = tape.op("Range", [zero, total, one])
    queries = tape.op("Range", [tape.op("Sub", [total, length]), total, one])
    oldest = tape.op("Sub", [queries, _constant(tape, np.array(window))])
    return tape.op("Greater", [keys, tape.op("Unsqueeze", [oldest, axis])])


def _mask_grouped(tape: Tape, nodes: list[ir.Node], mask: ir.Value, ids: ir.Value, windows: list[int]) -> None:
    """Let GroupQueryAttention skip padding by a bias; by itself it takes the first ``sum(mask)`` tokens for real."""
    bias = nodes[0].inputs[_BIAS] if len(nodes[0].inputs) > _BIAS else None
    bias = bias or _expand_to_queries(tape, _padding_bias(tape, mask), ids)
    last = tape.op("Sub", [nodes[0].inputs[6], _constant(tape, np.array(1, np.int32))])
    lengths = tape.op("Expand", [last, tape.op("Shape", [ids], {"start": 0, "end": 1})])
    for node, window in zip(nodes, windows, strict=True):
        node.resize_inputs(_BIAS + 1)
        node.attributes.pop("rotary_embedding_dim", None)  # the operator knows it from its tables alone
        node.replace_input_with(5, lengths)
        node.replace_input_with(_BIAS, bias)
        if window:
            node.attributes["local_window_size"] = ir.AttrInt64("local_window_size", window)
    _insert(tape, nodes[0])


def _expand_to_queries(tape: Tape, keys: ir.Value, ids: ir.Value) -> ir.Value:
    """What holds of each key, ``[b, t]``, for every query, ``[b, 1, s, t]``: the runtime doesn't broadcast it."""
    wide = tape.op("Unsqueeze", [keys, _constant(tape, np.array([1, 2]))])
    length = tape.op("Shape", [ids], {"start": 1, "end": 2})
    sizes = [_constant(tape, np.array([1, 1])), length, _constant(tape, np.array([1]))]
    return tape.op("Expand", [wide, tape.op("Concat", sizes, {"axis": 0})])


def _shift_positions(tape: Tape, graph: ir.Graph, ids: ir.Value, padding: int) -> None:
    """RoBERTa counts positions from ``padding + 1``, over tokens that aren't padding; padding itself stays there."""
    rows = next(n for n in graph if n.op_type == "Gather" and "position_embeddings" in str(n.inputs[0]))
    pad = _constant(tape, np.array(padding))
    real = tape.op("Cast", [tape.op("Not", [tape.op("Equal", [ids, pad])])], {"to": int(ir.DataType.INT64)})
    count = tape.op("Mul", [tape.op("CumSum", [real, _constant(tape, np.array(1))]), real])
    rows.replace_input_with(1, tape.op("Add", [count, pad]))
    _insert(tape, rows)


def _insert(tape: Tape, before: ir.Node) -> None:
    assert before.graph is not None
    before.graph.insert_before(before, [node for node in tape.nodes if node.graph is None])


def _constant(tape: Tape, array: NDArray[Any]) -> ir.Value:
    return tape.initializer(ir.tensor(array, name=f"mend.constant.{len(tape.initializers)}"))
