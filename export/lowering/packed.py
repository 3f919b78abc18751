"""Fuse weights that share an input into one matrix where their formats agree."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
import torch

from compress.weights.forms import Dense, Quantized, Weight, stacked


def stack_weights(forms: Sequence[Weight]) -> Weight | None:
    """Stack matrices along their outputs; None where they are not stored in one way."""
    if len(forms) == 1:
        return forms[0]
    dense = [form for form in forms if isinstance(form, Dense)]
    if len(dense) == len(forms) and len({form.tensor.dtype for form in dense}) == 1:
        return Dense(torch.cat([form.tensor for form in dense]))
    integer = [form for form in forms if isinstance(form, Quantized)]
    grids = {(form.bits, form.group, form.act, form.scale.dtype, form.zero_point is None) for form in integer}
    if len(integer) < len(forms) or len(grids) > 1:
        return None
    return stacked(integer)


def bypass_split(concatenated: ir.Value, parts: Sequence[ir.Value], sizes: list[int]) -> None:
    """Connect the parts of a Concat to what would cut it up again: a Split at the seams, GroupQueryAttention."""
    for node, index in tuple(concatenated.uses()):
        if node.op_type == "Split" and (at := node.inputs[1]) is not None and at.const_value is not None:
            if at.const_value.numpy().tolist() == sizes:
                for part, piece in zip(parts, node.outputs, strict=True):
                    part.shape, part.type = piece.shape, piece.type
                    piece.replace_all_uses_with(part)
        elif node.op_type == "GroupQueryAttention" and index == 0 and node.inputs[1] is None and len(parts) == 3:
            for i, part in enumerate(parts):
                node.replace_input_with(i, part)


def stacked_name(names: Sequence[str]) -> str:
    """One name for weights laid side by side: ``q_proj+k_proj`` where they differ."""
    parts = [name.split(".") for name in names]
    if len({len(part) for part in parts}) > 1:
        return "+".join(names)
    return ".".join("+".join(dict.fromkeys(column)) for column in zip(*parts, strict=True))
