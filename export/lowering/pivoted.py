"""Lower pivoted products: two products, whose outputs are then put in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from onnx_ir import Value
from torch import Tensor

from compress.export.lowering.emitter import Emitter
from compress.export.lowering.packed import stack_weights, stacked_name
from compress.weights.forms import Pivoted, Weight, order_name, part_name

Linear = Callable[[Emitter, str, Weight, Value, None, bool], Value]
"""A runtime's nodes for a weight form: emitter, name, weight, input, no bias, not shared."""


def pivoted(
    linear: Linear, emit: Emitter, names: Sequence[str], weights: Sequence[Pivoted], x: Value, bias: Value | None = None
) -> Value:
    """Compute ``x @ stack(weights).T + bias`` for products that read the same input, in one Concat and one Gather.

    Their pivots come from one product where they are stored in one way.
    """
    thin = [part_name(name, "right") for name in names]
    rights, sizes = [weight.right for weight in weights], [weight.right.shape[0] for weight in weights]
    stacked = stack_weights(rights) if len(weights) > 1 else None
    if stacked is None:
        pivots = parts = [linear(emit, *named, x, None, False) for named in zip(thin, rights, strict=True)]
    else:
        parts = [linear(emit, stacked_name(thin), stacked, x, None, False)]
        cuts = emit.constant(sizes)
        pivots = emit.multi_op("Split", *parts, cuts, outputs=[f"{name}.out" for name in thin], axis=-1)
    others = [
        linear(emit, part_name(name, "left"), weight.left, pivot, None, False)
        for name, weight, pivot in zip(names, weights, pivots, strict=True)
    ]
    name = stacked_name(names)
    together = emit.op("Concat", *parts, *others, name=f"{name}.together", axis=-1)
    order = emit.initializer(order_name(name), lambda: stacked_order(weights))
    product = emit.op("Gather", together, order, name=f"{name}.out", axis=-1)
    return product if bias is None else emit.op("Add", product, bias, name=f"{name}.biased")


def stacked_order(weights: Sequence[Pivoted]) -> Tensor:
    """Order of the outputs of several products, int32: all pivots come first, then what each left factor makes."""
    orders, pivots, others = [], 0, sum(weight.right.shape[0] for weight in weights)
    for weight in weights:
        count = weight.right.shape[0]
        orders.append(torch.where(weight.order < count, weight.order + pivots, weight.order - count + others))
        pivots, others = pivots + count, others + weight.left.shape[0]
    return torch.cat(orders)
