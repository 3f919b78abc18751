"""Operations of a run that rotate with their inputs, or write or read channels: what each does to the labels.

Every function gets the `Ledger`, the operation's output and its arguments, and returns the output's label, or None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from compress.modeling.spaces.channels import Label, Ledger, tensors, vectors
from compress.modeling.spaces.space import Reader, Writer

_SAME = frozenset(
    ("to", "float", "half", "bfloat16", "type", "type_as", "contiguous", "clone", "detach", "dropout")
)  # fmt: skip
_RESHAPES = frozenset(
    ("view_as", "reshape", "transpose", "permute", "flatten", "unflatten", "unsqueeze", "squeeze", "expand",
     "expand_as", "repeat", "repeat_interleave", "chunk", "split", "unbind", "narrow", "select", "movedim", "swapaxes",
     "broadcast_to", "__getitem__", "T", "mT")
)  # fmt: skip
_TRANSPOSES = ("T", "t", "mT")


def follow(
    ledger: Ledger, func: Callable[..., object], out: object, args: Sequence[object], kwargs: Mapping[str, object]
) -> None:
    """Label what an operation ``func`` leaves: known ones by their rule, reshapes by their shadow.

    All others fix the channels that they read.
    """
    name, first = name_of(func), args[0] if args else None
    if name in OPERATIONS and isinstance(out, Tensor):
        if (label := OPERATIONS[name](ledger, out, *args, **kwargs)) is not None:
            ledger.put(out, label)
    elif not isinstance(first, Tensor):
        ledger.fix_all((args, kwargs), name)
    elif name in _TRANSPOSES and isinstance(out, Tensor) and (parameter := ledger.name(first)) is not None:
        ledger.put_transposed(out, parameter)
    elif (label := ledger.label(first)) is not None:
        _reshape(ledger, func, label, out, args, kwargs)
    else:
        ledger.fix_all((args, kwargs), name)


def name_of(func: Callable[..., object]) -> str:
    """The name of an operation, or of the property that it gets."""
    name = getattr(func, "__name__", "")
    return str(getattr(getattr(func, "__self__", None), "__name__", "")) if name == "__get__" else str(name)


def _reshape(
    ledger: Ledger,
    func: Callable[..., object],
    label: Label,
    out: object,
    args: Sequence[object],
    kwargs: Mapping[str, object],
) -> None:
    """Do to the shadow what was done to its tensor, or fix its channels."""
    name, shadow = name_of(func), label.shadow
    without_numbers = name == "__getitem__" and any(index.is_meta for index in tensors(args[1:]))
    if name not in _SAME | _RESHAPES | {"view"} or without_numbers:
        ledger.fix_all((args, kwargs), name)
        return
    reshape: Callable[..., object] = torch.reshape if name == "view" else func
    try:  # a shadow isn't laid in memory as its tensor is, so that a view may be none there
        shadows = shadow if name in _SAME else reshape(shadow, *_shape(name, args[1:]), **kwargs)
    except (RuntimeError, NotImplementedError):  # indices without numbers
        ledger.fix_all((args, kwargs), name)
        return
    for tensor, part in zip(tensors(out), tensors(shadows), strict=True):
        ledger.put(tensor, replace(label, shadow=part))


def _shape(name: str, args: Sequence[object]) -> Sequence[object]:
    """The arguments of a reshape: of a view, one shape."""
    return args if name != "view" or not isinstance(args[0], int) else [args]


def _sum(ledger: Ledger, out: Tensor, a: Tensor | float, b: Tensor | float, **_: object) -> Label | None:
    labels = [ledger.label(t) for t in (a, b) if isinstance(t, Tensor)]
    if len(labels) < 2 or labels[0] is None or labels[1] is None:
        ledger.fix_all((a, b), "a sum with something else")
        return None
    first, second = labels[0], labels[1]
    for label in (first, second):
        if label.norm is not None:
            for each in (first, second):
                ledger.fix(each, f"{label.norm} is added to it with its gain")
            return None
    shadows = [label.shadow.expand(out.shape) for label in (first, second)]
    if ledger.channels(first).fixed.numel() != ledger.channels(second).fixed.numel() or not torch.equal(*shadows):
        ledger.fix_all((a, b), "a sum of other channels")
        return None
    ledger.merge(first, second)
    return replace(first, space=ledger.root(first.space), shadow=shadows[0])


def _joined(ledger: Ledger, out: Tensor, sequence: Sequence[Tensor], dim: int = 0, **_: object) -> Label | None:
    """Vectors of the same channels put after one another; what is empty, as a new cache, is left out."""
    parts = [tensor for tensor in sequence if tensor.numel()]
    labels = [label for tensor in parts if (label := ledger.label(tensor)) is not None]
    if not labels:
        return None
    alike = len(labels) == len(parts) and len({(label.norm, label.shadow.shape[-1]) for label in labels}) == 1
    rows = [vectors(label.shadow) for label in labels]
    if not alike or dim in (-1, out.ndim - 1) or any(not torch.equal(rows[0], other) for other in rows):
        ledger.fix_all(parts, "a concatenation")
        return None
    for label in labels[1:]:
        ledger.merge(labels[0], label)
    shadow = torch.cat([label.shadow for label in labels], dim)
    return replace(labels[0], space=ledger.root(labels[0].space), shadow=shadow)


def _scale(ledger: Ledger, out: Tensor, a: Tensor | float, b: Tensor | float, **_: object) -> Label | None:
    """Scale by a number, or by one for each vector of channels; by others the channels can't be rotated any more."""
    first, second = (ledger.open_label(t) if isinstance(t, Tensor) else None for t in (a, b))
    label, other = (first, b) if first is not None else (second, a)
    if label is None:
        return None
    if first is not None and second is not None:
        ledger.fix_all((a, b), "a product by elements")
        return None
    by_number = not isinstance(other, Tensor) or other.numel() == 1 or other.shape[-1] == 1
    if not by_number:
        ledger.fix(label, "a product by elements reads it", scalable=True)
    return replace(label, shadow=label.shadow.expand(out.shape))


def _quotient(ledger: Ledger, out: Tensor, a: Tensor | float, b: Tensor | float, **_: object) -> Label | None:
    if isinstance(b, Tensor) and ledger.label(b) is not None:
        ledger.fix_all((a, b), "a quotient")
        return None
    return _scale(ledger, out, a, b)


def _linear(ledger: Ledger, out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Label | None:
    name = ledger.name(weight)
    if name is None:
        ledger.fix_all((x, weight), "a linear of no parameter")
        return None
    return _apply_linear(ledger, out, x, name, None if bias is None else ledger.name(bias))


def _apply_linear(ledger: Ledger, out: Tensor, x: Tensor, name: str, bias: str | None) -> Label:
    if (label := ledger.label(x)) is not None:
        columns = label.shadow.reshape(-1, label.shadow.shape[-1])
        if bool((columns == columns[0]).all()):
            ledger.channels(label).readers.append(Reader(name, bias, columns[0].clone(), label.norm))
        else:
            ledger.fix(label, f"{name} reads it in several ways")
    return Label(_written(ledger, name, bias, out.shape[-1]), torch.arange(out.shape[-1]).expand(out.shape))


def _written(ledger: Ledger, name: str, bias: str | None, size: int) -> str:
    """The space of a linear's outputs, which isn't that of the columns of a table that is a head as well."""
    space = f"{name} (outputs)"
    ledger.space_of(space, Writer(name, 0), size)
    if bias is not None:
        ledger.space_of(space, Writer(bias, -1), size)
    return ledger.root(space)


def _addmm(ledger: Ledger, out: Tensor, bias: Tensor, x: Tensor, weight: Tensor, **_: object) -> Label | None:
    names = ledger.name(weight), ledger.name(bias)
    if names[0] is None or names[1] is None:
        ledger.fix_all((bias, x, weight), "addmm")
        return None
    return _apply_linear(ledger, out, x, names[0], names[1])


def _product(ledger: Ledger, out: Tensor, a: Tensor, b: Tensor, **_: object) -> Label | None:
    """A product with a transposed parameter is a linear; with values in the second place it is attention."""
    if (name := ledger.transposed(b)) is not None:
        return _apply_linear(ledger, out, a, name, None)
    if ledger.label(a) is not None:
        ledger.fix_all((a, b), "a product")
        return None
    return _attended(ledger, out, b)


def _attention(ledger: Ledger, out: Tensor, q: Tensor, k: Tensor, v: Tensor, *_: object, **__: object) -> Label | None:
    ledger.fix_all((q, k), "attention's scores")
    return _attended(ledger, out, v)


def _attended(ledger: Ledger, out: Tensor, values: Tensor) -> Label | None:
    """Mixtures of values, those of each head by weights of its own."""
    label = ledger.label(values)
    if label is None:
        return None
    if label.norm is not None:
        ledger.fix(label, "attention reads it behind a norm")
        return None
    shadow = label.shadow[..., :1, :]
    if shadow.ndim > 2 and shadow.shape[-3] != out.shape[-3]:
        shadow = shadow.repeat_interleave(out.shape[-3] // shadow.shape[-3], dim=-3)
    channels = ledger.channels(label)
    channels.in_heads = True
    channels.rows.append(vectors(shadow))
    return replace(label, shadow=shadow.expand(out.shape))


def _embedding(ledger: Ledger, out: Tensor, ids: Tensor, weight: Tensor, *_: object, **__: object) -> Label | None:
    name = ledger.name(weight)
    if name is None:
        return None
    ledger.space_of(name, Writer(name, -1), out.shape[-1])
    return Label(ledger.root(name), torch.arange(out.shape[-1]).expand(out.shape))


def _convolution(
    ledger: Ledger, out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None, *_: object, **__: object
) -> Label | None:
    """Patches of an image, each a vector of channels along the second axis."""
    name = ledger.name(weight)
    if name is None or ledger.label(x) is not None:
        ledger.fix_all((x,), "a convolution")
        return None
    space = _written(ledger, name, None if bias is None else ledger.name(bias), out.shape[1])
    return Label(space, torch.arange(out.shape[1]).view(-1, 1, 1).expand(out.shape))


OPERATIONS: Mapping[str, Callable[..., Label | None]] = {
    **dict.fromkeys(("add", "__add__", "__radd__", "add_", "__iadd__"), _sum),
    **dict.fromkeys(("mul", "__mul__", "__rmul__", "mul_", "__imul__"), _scale),
    **dict.fromkeys(("div", "__truediv__", "div_", "__itruediv__", "true_divide"), _quotient),
    **dict.fromkeys(("matmul", "bmm", "__matmul__"), _product),
    "cat": _joined,
    "linear": _linear,
    "addmm": _addmm,
    "embedding": _embedding,
    "conv2d": _convolution,
    "scaled_dot_product_attention": _attention,
}
"""The operations that are known, by their names in torch."""
