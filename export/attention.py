"""Attention masks that mobius's standard graphs leave out, added to them."""

from __future__ import annotations

import onnx_ir as ir
from transformers import PretrainedConfig


def mend_attention(model: ir.Model, config: PretrainedConfig) -> None:
    """Make standard Attention nodes respect padding (encoders) and the sliding window (decoders).

    mobius 0.1.0 hands encoders' int64 ``attention_mask [b, s]`` to Attention as it is, where a bool mask that
    broadcasts to ``[b, heads, s, s]`` is meant.
    """
