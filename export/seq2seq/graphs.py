"""Build the graphs of encoder-decoders: an encoder, and a decoder with caches of its own text and of the encoder's.

Files, inputs and outputs have the names that optimum gives them and transformers.js looks for. One decoder serves the
first step and all that follow: where its cache of cross-attention comes in empty, it is made of the encoder's states.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import onnx_ir as ir
from transformers import PretrainedConfig

from compress.export.seq2seq import bart, t5
from compress.export.seq2seq.caches import DecoderCaches
from compress.export.seq2seq.model_builder import ACTIVATIONS, ModelBuilder
from compress.graph.masks import attention_mask
from compress.onnx_names import DECODER, ENCODER


class Declared(Protocol):
    """Graphs of a family, as one of this package's modules declares them."""

    ACTIVATION: str
    """the setting that names the activation of its MLPs"""

    def encode(self, builder: ModelBuilder, config: PretrainedConfig, ids: ir.Value, visible: ir.Value) -> ir.Value:
        """Encode tokens ``[b, s]`` to their last hidden states under the mask ``visible``, bool ``[b, 1, s, s]``."""

    def decode(self, builder: ModelBuilder, config: PretrainedConfig, ids: ir.Value, caches: DecoderCaches) -> ir.Value:
        """Decode tokens ``[b, s]`` that follow on those in ``caches`` to their logits."""


_DECLARED: Mapping[str, Declared] = {"t5": t5, "bart": bart, "marian": bart}


def unsupported_reason(config: PretrainedConfig) -> str | None:
    """Name what of an encoder-decoder no graph is declared of: its type or activation; None where one is."""
    declared = _DECLARED.get(config.model_type)
    if declared is None:
        return f"{config.model_type} models"
    activation = getattr(config, declared.ACTIVATION)
    return None if activation in ACTIVATIONS else f"{config.model_type} models with {declared.ACTIVATION}={activation}"


def build_graphs(config: PretrainedConfig, shapes: Mapping[str, tuple[int, ...]], fused: bool) -> dict[str, ir.Model]:
    """Build both float graphs of a checkpoint of tensors ``shapes`` (linears ``[out, in]``), by their files.

    ``fused`` takes operators that add and normalize at once.
    """
    declared = _DECLARED[config.model_type]
    encoder = ModelBuilder("encoder", shapes, fused)
    text = ["batch_size", "encoder_sequence_length"]
    ids = encoder.input("input_ids", text, ir.DataType.INT64)
    mask = encoder.input("attention_mask", text, ir.DataType.INT64)
    hidden = declared.encode(encoder, config, ids, attention_mask(encoder, mask, ids))
    encoder.output("last_hidden_state", hidden, [*text, config.hidden_size])
    decoder = ModelBuilder("decoder", shapes, fused)
    ids = decoder.input("input_ids", ["batch_size", "decoder_sequence_length"], ir.DataType.INT64)
    caches = DecoderCaches(decoder, config, ids)
    logits = declared.decode(decoder, config, ids, caches)
    decoder.output("logits", logits, ["batch_size", "decoder_sequence_length", config.vocab_size])
    caches.emit_outputs()
    return {ENCODER: encoder.build(), DECODER: decoder.build()}
