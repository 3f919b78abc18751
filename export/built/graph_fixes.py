"""Fixes for mobius graphs: padding masks, sliding windows, position offsets, attention biases.

Each of these is verified by the parity gate; a version of mobius that does them itself makes the fix needless.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PretrainedConfig

from compress.export.built.alibi import slopes
from compress.export.built.relative_bias import relative_bias
from compress.export.built.rotary import fix_rotations
from compress.graph.builder import GraphBuilder, required
from compress.graph.masks import MASKED, attention_mask, expand_to_queries, padding_bias, window_mask
from compress.modeling.architecture import head_size, longest_input
from compress.onnx_names import LENGTHS

_MASK = 3
"""Index of Attention's input that is its mask."""
_TOTAL, _BIAS = 6, 10
"""Indices of GroupQueryAttention's inputs: the longest text's length, the bias of its scores."""


class _FixBuilder(GraphBuilder):
    """Numbers its constants, each use having its own: names in artifacts stay as they are from version to version."""

    def __init__(self, graph: ir.Graph) -> None:
        super().__init__(graph)
        self.constants = 0

    def constant_name(self, array: NDArray[Any]) -> str:
        """The next number."""
        self.constants += 1
        return f"mend.constant.{self.constants - 1}"


def fix_graph(model: ir.Model, config: PretrainedConfig, rotary: nn.Module | None = None) -> None:
    """Make attention keep to ``attention_mask`` wherever the padding is and to each layer's window; shift positions.

    And make it scale, rotate (by the angles of ``rotary``, see `fix_rotations`) and bias as the family does.
    """
    graph, builder = model.graph, _FixBuilder(model.graph)
    ids = graph.inputs[0]
    if config.model_type in ("roberta", "mpnet"):
        _shift_positions(builder, ids, config.pad_token_id)
    nodes = [node for node in graph if node.op_type in ("Attention", "GroupQueryAttention")]
    mask, grouped = _mask_input(graph, ids), nodes[0].op_type == "GroupQueryAttention"
    windows = _windows(config, len(nodes))
    if config.model_type in ("gemma2", "gemma3_text"):
        _scale_embedding(builder, config)
    if (scale := _scale(config)) is not None:
        for node in nodes:
            node.attributes["scale"] = ir.AttrFloat32("scale", scale)
    fix_rotations(graph, nodes, config, rotary)
    biases = None
    if (by_distance := slopes(config)) is not None:
        if config.model_type == "falcon":
            biases = _falcon_bias(builder, mask, by_distance, head_size(config) ** -0.5)
        else:
            biases = _alibi_bias(builder, mask, by_distance)
    elif config.model_type == "mpnet":
        biases = relative_bias(builder, ids, config)
    if biases is not None:
        _bias(builder, nodes, mask, ids, biases)
    if grouped:
        _mask_grouped(builder, nodes, mask, ids, windows)
    elif biases is None:
        _mask_standard(builder, nodes, mask, ids, windows)


def _scale(config: PretrainedConfig) -> float | None:
    """A factor of scores that isn't the root of the size of a head, where mobius takes that."""
    if config.model_type == "gemma3_text":
        return float(config.query_pre_attn_scalar**-0.5)
    if config.model_type == "mpt" and config.attn_config.softmax_scale is not None:
        return float(config.attn_config.softmax_scale)
    return None


def _scale_embedding(builder: GraphBuilder, config: PretrainedConfig) -> None:
    """Gemma multiplies its embedding by the root of its width, which mobius rounds."""
    rows = next(n for n in builder.graph if n.op_type == "Gather" and "embed_tokens" in str(required(n.inputs[0]).name))
    (scaled, _), *_ = rows.outputs[0].uses()
    scaled.replace_input_with(1, builder.constant(float(config.hidden_size**0.5)))


def _alibi_bias(builder: GraphBuilder, mask: ir.Value, by_distance: Tensor) -> ir.Value:
    """Scores of every head fall with the distance of the key, ``[1, heads, 1, t]``; its order alone shows."""
    step, total = builder.constant(1), builder.size(mask, 1)
    behind = builder.op("Range", builder.op("Sub", step, total), step, step)
    distances = builder.op("Cast", behind, to=int(ir.DataType.FLOAT))
    return builder.op("Mul", distances, builder.constant(by_distance.view(1, -1, 1, 1).numpy()))


def _falcon_bias(builder: GraphBuilder, mask: ir.Value, by_distance: Tensor, scale: float) -> ir.Value:
    """The same of Falcon, ``[b, heads, 1, t]``, by positions that skip padding: the rise of scores before ``scale``.

    As in transformers, positions and their products with slopes are bfloat16, which has whole numbers up to 256.
    """
    first, axis = builder.constant(1), builder.constant([1, 2])
    positions = builder.op("Mul", builder.op("Sub", builder.op("CumSum", mask, first), first), mask)
    rounded = _as_bfloat16(builder, builder.op("Unsqueeze", positions, axis))
    slope = (by_distance / scale).bfloat16().float()
    product = builder.op("Mul", rounded, builder.constant(slope.view(1, -1, 1, 1).numpy()))
    return builder.op("Mul", _as_bfloat16(builder, product), builder.constant(scale))


def _as_bfloat16(builder: GraphBuilder, x: ir.Value) -> ir.Value:
    """Floats as near as bfloat16 has them."""
    rounded = builder.op("Cast", x, to=int(ir.DataType.BFLOAT16))
    return builder.op("Cast", rounded, to=int(ir.DataType.FLOAT))


def _bias(builder: GraphBuilder, nodes: list[ir.Node], mask: ir.Value, ids: ir.Value, biases: ir.Value) -> None:
    """Add biases to what every layer scores keys with, and hide padding; a decoder's standard operators look back."""
    bias = builder.op("Add", expand_to_queries(builder, padding_bias(builder, mask), ids), biases)
    bias.type = ir.TensorType(ir.DataType.FLOAT)  # a mask may be bool as well
    for node in nodes:
        index = _BIAS if node.op_type == "GroupQueryAttention" else _MASK
        node.resize_inputs(max(index + 1, len(node.inputs)))
        node.replace_input_with(index, bias)
        if index == _MASK and len(node.outputs) > 1:
            node.attributes["is_causal"] = ir.AttrInt64("is_causal", 1)
    builder.insert_before(nodes[0])


def _mask_input(graph: ir.Graph, ids: ir.Value) -> ir.Value:
    """The graph's ``attention_mask``, made where the graph ignores padding altogether."""
    for value in graph.inputs:
        if value.name == "attention_mask":
            return value
    mask = ir.Value(name="attention_mask", type=ids.type, shape=ids.shape)
    graph.inputs.append(mask)
    return mask


def _windows(config: PretrainedConfig, layers: int) -> list[int]:
    """Sliding window of each layer; 0 where it sees everything."""
    window = getattr(config, "sliding_window", None) or 0
    if window >= longest_input(config):
        window = 0
    layer_types = getattr(config, "layer_types", None) or ["sliding_attention"] * layers
    return [window if layer_type == "sliding_attention" else 0 for layer_type in layer_types]


def _mask_standard(
    builder: GraphBuilder, nodes: list[ir.Node], mask: ir.Value, ids: ir.Value, windows: list[int]
) -> None:
    """Give Attention the bool masks it means; mobius hands encoders' int64 ``[b, s]`` on as it is, or nothing."""
    first = nodes[0]
    padding = first.inputs[_MASK] if len(first.inputs) > _MASK else None
    biased = padding is not None and padding.dtype == ir.DataType.FLOAT
    if biased and len({id(node.inputs[_MASK]) for node in nodes}) > 1:
        # Biases of each kind of layer, which mobius makes of mask, order and window, may be on the wrong layers.
        biased, padding = False, None
        for node in nodes:
            node.attributes["is_causal"] = ir.AttrInt64("is_causal", 1)
    if padding is None or padding is mask:
        padding = attention_mask(builder, mask, ids)
    masks = {0: padding} | {window: _with_window(builder, padding, window, biased) for window in set(windows) - {0}}
    for node, window in zip(nodes, windows, strict=True):
        node.resize_inputs(max(_MASK + 1, len(node.inputs)))
        node.replace_input_with(_MASK, masks[window])
    builder.insert_before(first)


def _with_window(builder: GraphBuilder, padding: ir.Value, window: int, biased: bool) -> ir.Value:
    """A mask, or a bias where it is ``biased``, that keeps to a window besides."""
    visible = window_mask(builder, padding, window)
    if biased:
        return builder.op("Where", visible, padding, builder.constant(MASKED))
    return builder.op("And", padding, visible)


def _mask_grouped(
    builder: GraphBuilder, nodes: list[ir.Node], mask: ir.Value, ids: ir.Value, windows: list[int]
) -> None:
    """Let GroupQueryAttention skip padding by a bias; by itself it takes the first ``sum(mask)`` tokens for real."""
    bias = nodes[0].inputs[_BIAS] if len(nodes[0].inputs) > _BIAS else None
    bias = bias or expand_to_queries(builder, padding_bias(builder, mask), ids)
    last = builder.op("Sub", nodes[0].inputs[_TOTAL], builder.constant(np.array(1, np.int32)))
    lengths = builder.op("Expand", last, builder.dim(ids, 0))
    for node, window in zip(nodes, windows, strict=True):
        node.resize_inputs(_BIAS + 1)
        node.attributes.pop("rotary_embedding_dim", None)  # the operator knows it from its tables alone
        node.replace_input_with(LENGTHS, lengths)
        node.replace_input_with(_BIAS, bias)
        if window:
            node.attributes["local_window_size"] = ir.AttrInt64("local_window_size", window)
    builder.insert_before(nodes[0])


def _shift_positions(builder: GraphBuilder, ids: ir.Value, padding: int) -> None:
    """RoBERTa counts positions from ``padding + 1``, over tokens that aren't padding; padding itself stays there."""
    rows = next(n for n in builder.graph if n.op_type == "Gather" and "position_embeddings" in str(n.inputs[0]))
    pad = builder.constant(padding)
    is_text = builder.op("Cast", builder.op("Not", builder.op("Equal", ids, pad)), to=int(ir.DataType.INT64))
    count = builder.op("Mul", builder.op("CumSum", is_text, builder.constant(1)), is_text)
    rows.replace_input_with(1, builder.op("Add", count, pad))
    builder.insert_before(rows)
