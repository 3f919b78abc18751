"""What a decoder remembers: the keys and values of what it wrote, and those of what the encoder made of a text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from transformers import PretrainedConfig

from compress.export.seq2seq.graph_builder import Cache, Draft

_SIDES = ("decoder", "encoder")
_PARTS = ("key", "value")


class DecoderCaches:
    """The inputs and outputs that hold it, layer by layer: ``past_key_values.{i}.{decoder,encoder}.{key,value}``."""

    def __init__(self, draft: Draft, config: PretrainedConfig, ids: ir.Value) -> None:
        self.draft = draft
        self.heads, self.size = shape_of_heads(config)
        mask = draft.input("encoder_attention_mask", ["batch_size", "encoder_sequence_length"], ir.DataType.INT64)
        states = ["batch_size", "encoder_sequence_length", config.hidden_size]
        given = draft.input("encoder_hidden_states", states)
        self.visible = draft.attention_mask(mask, ids)
        self.past = [{side: self._input(i, side) for side in _SIDES} for i in range(decoder_layers(config))]
        self.present: list[dict[str, Cache]] = [{} for _ in self.past]
        self.length = draft.dim(self.past[0]["decoder"][0], 2)
        fresh = draft.op("Equal", draft.dim(self.past[0]["encoder"][0], 2), draft.integers(0))
        wanted = draft.op("Mul", draft.dim(given, 1), draft.op("Cast", fresh, to=int(ir.DataType.INT64)))
        self.read = draft.op("Slice", given, draft.integers(0), wanted, draft.integers(1))
        """the encoder's states, or none of them where their keys and values are known"""

    def self_attention(self, i: int, parts: Sequence[ir.Value], scale: float, bias: ir.Value | None = None) -> ir.Value:
        """Attention of layer ``i`` to what was written, queries, keys and values being ``parts`` ``[b, s, width]``."""
        past = self.past[i]["decoder"]
        said, self.present[i]["decoder"] = self.draft.attention(parts, self.heads, scale, bias, past)
        return said

    def cross_attention(self, i: int, queries: ir.Value, keys: str, values: str, scale: float) -> ir.Value:
        """Attention of layer ``i`` to what the encoder made of the text, ``keys`` and ``values`` being linears."""
        made = (self._by_head(self.draft.linear(name, self.read)) for name in (keys, values))
        pairs = zip(self.past[i]["encoder"], made, strict=True)
        held = [self.draft.op("Concat", past, new, axis=2) for past, new in pairs]  # Attention takes nothing empty
        self.present[i]["encoder"] = held[0], held[1]
        said = self.draft.op("Attention", self._by_head(queries), *held, self.visible, scale=scale)
        flat = self.draft.integers(0, 0, self.heads * self.size)
        return self.draft.op("Reshape", self.draft.op("Transpose", said, perm=[0, 2, 1, 3]), flat)

    def emit_outputs(self) -> None:
        """Make outputs of what is to be the next step's inputs."""
        for i, sides in enumerate(self.present):
            for side, values in sides.items():
                for part, value in zip(_PARTS, values, strict=True):
                    self.draft.output(f"present.{i}.{side}.{part}", value, self._shape("present", side))

    def _by_head(self, x: ir.Value) -> ir.Value:
        """``[b, s, heads * size]`` as ``[b, heads, s, size]``."""
        parts = self.draft.op("Reshape", x, self.draft.integers(0, 0, self.heads, self.size))
        return self.draft.op("Transpose", parts, perm=[0, 2, 1, 3])

    def _input(self, i: int, side: str) -> Cache:
        shape = self._shape("past", side)
        keys, values = (self.draft.input(f"past_key_values.{i}.{side}.{part}", shape) for part in _PARTS)
        return keys, values

    def _shape(self, when: str, side: str) -> list[int | str]:
        return ["batch_size", self.heads, f"{when}_{side}_sequence_length", self.size]


def decoder_layers(config: PretrainedConfig) -> int:
    """How many layers a decoder has."""
    return int(getattr(config, "num_decoder_layers", None) or config.decoder_layers)


def shape_of_heads(config: PretrainedConfig) -> tuple[int, int]:
    """How many heads a decoder's layers have, and their size."""
    heads = int(getattr(config, "decoder_attention_heads", None) or config.num_attention_heads)
    return heads, int(getattr(config, "head_dim", None) or config.hidden_size // heads)


def positions(draft: Draft, ids: ir.Value, past: ir.Value | None = None) -> ir.Value:
    """Where tokens ``[b, s]`` stand, int64 ``[s]``, behind a ``past`` of so many, a vector of one."""
    length = draft.dim(ids, 1)
    return position_range(draft, length) if past is None else position_range(draft, draft.op("Add", past, length), past)


def position_range(draft: Draft, end: ir.Value, start: ir.Value | None = None) -> ir.Value:
    """All positions before ``end`` from ``start`` on, both vectors of one."""
    zero, one = (draft.constant(np.array(number, np.int64)) for number in (0, 1))
    return draft.op("Range", zero if start is None else draft.op("Squeeze", start), draft.op("Squeeze", end), one)
