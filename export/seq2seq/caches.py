"""Self- and cross-attention caches of an exported decoder."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
from transformers import PretrainedConfig

from compress.export.seq2seq.model_builder import KeysValues, ModelBuilder
from compress.graph.builder import GraphBuilder
from compress.graph.masks import attention_mask
from compress.onnx_names import past_name, present_name

_SIDES = ("decoder", "encoder")
_PARTS = ("key", "value")


class DecoderCaches:
    """Inputs and outputs of a decoder's graph that hold the keys and values of each layer.

    Those of the decoder are of what was written so far, those of the encoder of the text that is read. ``past`` are
    the inputs by layer and side, ``visible`` the text's mask, bool ``[b, 1, s, t]``, ``length`` the tokens written so
    far, int64 ``[1]``.
    """

    def __init__(self, builder: ModelBuilder, config: PretrainedConfig, ids: ir.Value) -> None:
        self.builder = builder
        self.heads, self.size = shape_of_heads(config)
        text = ["batch_size", "encoder_sequence_length"]
        mask = builder.input("encoder_attention_mask", text, ir.DataType.INT64)
        states = builder.input("encoder_hidden_states", [*text, config.hidden_size])
        self.visible = attention_mask(builder, mask, ids)
        self.past = [{side: self._input(i, side) for side in _SIDES} for i in range(decoder_layers(config))]
        self.present: list[dict[str, KeysValues]] = [{} for _ in self.past]
        self.length = builder.dim(self.past[0]["decoder"][0], 2)
        is_first = builder.op("Equal", builder.dim(self.past[0]["encoder"][0], 2), builder.constant([0]))
        count = builder.op("Mul", builder.dim(states, 1), builder.op("Cast", is_first, to=int(ir.DataType.INT64)))
        self._states = builder.op("Slice", states, builder.constant([0]), count, builder.constant([1]))
        """the encoder's states, or none of them where their keys and values are there already"""

    def self_attention(
        self, layer: int, projections: Sequence[ir.Value], scale: float, bias: ir.Value | None = None
    ) -> ir.Value:
        """Self-attention of a layer on its cache; ``projections`` are queries, keys and values ``[b, s, width]``."""
        past = self.past[layer]["decoder"]
        out, self.present[layer]["decoder"] = self.builder.attention(projections, self.heads, scale, bias, past)
        return out

    def cross_attention(self, layer: int, queries: ir.Value, keys: str, values: str, scale: float) -> ir.Value:
        """Cross-attention of a layer to the encoder's states, ``keys`` and ``values`` being linears."""
        builder = self.builder
        new = (self._by_head(builder.project(name, self._states)) for name in (keys, values))
        pairs = zip(self.past[layer]["encoder"], new, strict=True)
        # Attention takes nothing empty, so that old and new ones come as one
        cache = [builder.op("Concat", old, states, axis=2) for old, states in pairs]
        self.present[layer]["encoder"] = cache[0], cache[1]
        out = builder.op("Attention", self._by_head(queries), *cache, self.visible, scale=scale)
        flat = builder.constant([0, 0, self.heads * self.size])
        return builder.op("Reshape", builder.op("Transpose", out, perm=[0, 2, 1, 3]), flat)

    def emit_outputs(self) -> None:
        """Add the caches to the graph's outputs, for the next step's inputs."""
        for layer, sides in enumerate(self.present):
            for side, values in sides.items():
                for part, value in zip(_PARTS, values, strict=True):
                    self.builder.output(present_name(layer, part, side), value, self._shape("present", side))

    def _by_head(self, x: ir.Value) -> ir.Value:
        """``[b, s, heads * size]`` as ``[b, heads, s, size]``."""
        by_head = self.builder.op("Reshape", x, self.builder.constant([0, 0, self.heads, self.size]))
        return self.builder.op("Transpose", by_head, perm=[0, 2, 1, 3])

    def _input(self, layer: int, side: str) -> KeysValues:
        shape = self._shape("past", side)
        keys, values = (self.builder.input(past_name(layer, part, side), shape) for part in _PARTS)
        return keys, values

    def _shape(self, when: str, side: str) -> list[int | str]:
        return ["batch_size", self.heads, f"{when}_{side}_sequence_length", self.size]


def decoder_layers(config: PretrainedConfig) -> int:
    """Number of a decoder's layers."""
    return int(getattr(config, "num_decoder_layers", None) or config.decoder_layers)


def shape_of_heads(config: PretrainedConfig) -> tuple[int, int]:
    """Number of the heads of a decoder's layer, and their size."""
    heads = int(getattr(config, "decoder_attention_heads", None) or config.num_attention_heads)
    return heads, int(getattr(config, "head_dim", None) or config.hidden_size // heads)


def token_positions(builder: GraphBuilder, ids: ir.Value, past: ir.Value | None = None) -> ir.Value:
    """Positions of tokens ``[b, s]``, int64 ``[s]``, after ``past`` cached ones, a vector of one."""
    length = builder.dim(ids, 1)
    if past is None:
        return position_range(builder, length)
    return position_range(builder, builder.op("Add", past, length), past)


def position_range(builder: GraphBuilder, end: ir.Value, start: ir.Value | None = None) -> ir.Value:
    """Range of positions from ``start`` to before ``end``, both vectors of one."""
    zero, step = builder.constant(0), builder.constant(1)
    first = zero if start is None else builder.op("Squeeze", start)
    return builder.op("Range", first, builder.op("Squeeze", end), step)
