"""Format ``compressed-tensors``, the default: it holds every weight form, as checkpoint tensors and back.

As in the library compressed-tensors, ``pack-quantized`` for groups and ``int-quantized`` for whole channels of 8 bits
(https://github.com/vllm-project/compressed-tensors). The integers are the truth: nothing is quantized here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from typing import Any, ClassVar

import torch
from torch import Tensor

from compress.formats.base import CheckpointFormat
from compress.formats.words import pack_words, unpack_words
from compress.weights.forms import Dense, Factored, Masked, Pivoted, Quantized, Residual, Weight, order_name, part_name
from compress.weights.stored import DEFAULT_FORMAT, PER_CHANNEL, StoredForm

_EXPERTS = "re:.*\\.experts\\..*"


class CompressedTensorsFormat(CheckpointFormat):
    """The library's own packing, scheme by scheme."""

    name: ClassVar[str] = DEFAULT_FORMAT

    def encode(self, name: str, weight: Weight, is_linear: bool, is_expert: bool = False) -> dict[str, Tensor]:
        """The checkpoint's tensors of a matrix; a product's are those of its factors."""
        return encode(name, weight, is_linear, is_expert)

    def decode(self, name: str, stored: StoredForm, read: Mapping[str, Tensor]) -> Weight:
        """The matrix as it was encoded."""
        return decode(name, stored, read)

    def config(
        self, weights: Mapping[str, StoredForm], linears: Sequence[str], expert_weights: Collection[str] = ()
    ) -> dict[str, object] | None:
        """A group of settings for every scheme that is there."""
        return quantization_config(weights, list(linears), metadata.version("compressed-tensors"), expert_weights)

    def loads_whole(self, config: Mapping[str, object]) -> bool:
        """Where there is one scheme: ``"dequantize": true`` makes transformers read every tensor by the first."""
        groups = config["config_groups"]
        assert isinstance(groups, dict)
        schemes = [(group["weights"], group["format"]) for group in groups.values()]
        return all(scheme == schemes[0] for scheme in schemes)


def encode(name: str, weight: Weight, is_linear: bool, is_expert: bool = False) -> dict[str, Tensor]:
    """The checkpoint tensors of the matrix ``name`` (``….weight``); a product's are those of its factors.

    Only a linear's codes (``is_linear``) are ever packed: transformers can't load an embedding that has no ``weight``.
    An expert's (``is_expert``) always are: transformers loads no others. Its scales are written in float32, as that
    multiplies experts' codes in the type of their scales.
    """
    match weight:
        case Dense():
            return {name: weight.tensor.contiguous()}
        case Factored(left=left, right=right):
            factors = {part_name(name, "left"): left, part_name(name, "right"): right}
            order = {order_name(name): weight.order} if isinstance(weight, Pivoted) else {}
            return order | {
                k: t for part, leaf in factors.items() for k, t in encode(part, leaf, is_linear, is_expert).items()
            }
        case Residual(base=base, correction=correction):
            return encode(name, base, is_linear, is_expert) | encode(name, correction, is_linear, is_expert)
    tensors = {f"{name}_scale": (weight.scale.float() if is_expert else weight.scale).contiguous()}
    stored = StoredForm.of(weight)
    if _is_plain(stored, is_linear) and not is_expert:
        zeros = {} if weight.zero_point is None else {f"{name}_zero_point": weight.zero_point.contiguous()}
        return {name: weight.codes.contiguous(), **tensors, **zeros}
    tensors[f"{name}_packed"] = pack_words(weight.codes, weight.bits)
    tensors[f"{name}_shape"] = torch.tensor(weight.shape)
    if weight.zero_point is not None:
        tensors[f"{name}_zero_point"] = pack_words(weight.zero_point, weight.bits, dim=0)
    return tensors


def decode(name: str, stored: StoredForm, read: Mapping[str, Tensor]) -> Weight:
    """The matrix ``name``, exactly as it was encoded; ``read`` gives the checkpoint's tensors by name."""
    if not stored.parts:
        return _leaf(name, stored, read)
    left, right = (_leaf(part_name(name, part), stored.parts[part], read) for part in ("left", "right"))
    if stored.pivoted:
        return Pivoted(left, right, _order(read[order_name(name)], stored.shape[0]))
    product = Factored(left, right)
    return product if stored.form == "factored" else Residual(_integers(name, stored.parts["base"], read), product)


def _leaf(name: str, stored: StoredForm, read: Mapping[str, Tensor]) -> Dense | Quantized:
    if stored.form == "dense":
        tensor = read[name]
        return Masked(tensor, tensor != 0) if stored.masked else Dense(tensor)
    return _integers(name, stored, read)


def _order(order: Tensor, outputs: int) -> Tensor:
    """The order of a pivoted product's outputs; a ValueError where it isn't one."""
    if order.dtype != torch.int32 or not torch.equal(order.sort().values, torch.arange(outputs, dtype=torch.int32)):
        raise ValueError(f"{outputs} outputs in no order")
    return order


def _integers(name: str, stored: StoredForm, read: Mapping[str, Tensor]) -> Quantized:
    assert stored.bits is not None and stored.group is not None
    scale = _narrowed(read[f"{name}_scale"])
    if name in read:
        codes = read[name]
    else:
        codes = unpack_words(read[f"{name}_packed"], stored.bits, tuple(read[f"{name}_shape"].tolist())).contiguous()
    zero_point = None
    if not stored.symmetric:
        zero_point = read[f"{name}_zero_point"]
        if zero_point.dtype == torch.int32:
            zero_point = unpack_words(zero_point, stored.bits, scale.shape, dim=0)
    group = codes.shape[1] if stored.group == PER_CHANNEL else stored.group
    weight = Quantized(codes, scale, stored.bits, group, zero_point, stored.act)
    return replace(weight, mask=weight.dequantize() != 0) if stored.masked else weight


def _narrowed(scale: Tensor) -> Tensor:
    """float32 scales in 16 bits where these hold the same numbers: all but those that earlier versions solved for."""
    if scale.dtype != torch.float32:
        return scale
    halves = (scale.to(dtype) for dtype in (torch.bfloat16, torch.float16))
    return next((half for half in halves if torch.equal(half.float(), scale)), scale)


def quantization_config(
    weights: Mapping[str, StoredForm], linears: list[str], version: str, expert_weights: Collection[str] = ()
) -> dict[str, Any] | None:
    """The ``quantization_config`` of ``config.json``, or None where nothing is quantized.

    ``linears`` are all linears' weight names: those that stay float are named in ``ignore``. The most frequent scheme
    of linears is written for the class ``Linear``, the others for the modules by name, and that of the experts'
    linears, the ``expert_weights``, by a pattern.
    """
    quantized = {name: stored for name, stored in weights.items() if stored.form == "quantized"}
    if not quantized:
        return None
    quantized |= _in_groups({name: form for name, form in quantized.items() if name in expert_weights})
    schemes: dict[tuple[object, ...], list[str]] = {}
    for name, form in quantized.items():
        scheme = (name in linears, name in expert_weights, form.bits, form.group, form.symmetric, form.act)
        schemes.setdefault(scheme, []).append(name)
    ranked = sorted(
        schemes.values(), key=lambda names: (names[0] not in linears, names[0] in expert_weights, -len(names))
    )
    groups = {}
    for i, names in enumerate(ranked):
        linear = names[0] in linears
        targets = ["Linear"] if linear and i == 0 else [name.removesuffix(".weight") for name in names]
        is_expert = names[0] in expert_weights
        groups[f"group_{i}"] = _group(quantized[names[0]], linear, is_expert, [_EXPERTS] if is_expert else targets)
    formats = {group["format"] for group in groups.values()}
    return {
        "quant_method": "compressed-tensors",
        "version": version,
        "format": formats.pop() if len(formats) == 1 else "mixed-precision",
        "quantization_status": "compressed",
        "config_groups": groups,
        "ignore": [name.removesuffix(".weight") for name in linears if name not in quantized],
        "kv_cache_scheme": None,
        "sparsity_config": {},
        "transform_config": {},
    }


def _in_groups(experts: dict[str, StoredForm]) -> dict[str, StoredForm]:
    """Experts' forms in the scheme that all of them share: a whole channel is a group as long as itself.

    They stay per channel where no group is as long as every channel, and none of them has groups.
    """
    lengths = {form.shape[1] for form in experts.values() if form.group == PER_CHANNEL}
    if len(lengths) > 1 and all(form.group == PER_CHANNEL for form in experts.values()):
        return experts
    return {
        name: form.model_copy(update={"group": form.shape[1]}) if form.group == PER_CHANNEL else form
        for name, form in experts.items()
    }


def _group(stored: StoredForm, linear: bool, is_expert: bool, targets: list[str]) -> dict[str, object]:
    channel = stored.group == PER_CHANNEL
    return {
        "targets": targets,
        "weights": {
            "num_bits": stored.bits,
            "type": "int",
            "symmetric": stored.symmetric,
            "strategy": "channel" if channel else "group",
            "group_size": None if channel else stored.group,
            "dynamic": False,
        },
        "input_activations": _per_token() if stored.act == "dynamic" else None,
        "format": "int-quantized" if _is_plain(stored, linear) and not is_expert else "pack-quantized",
    }


def _is_plain(stored: StoredForm, is_linear: bool) -> bool:
    """Whether codes are written as they are, a byte each (``int-quantized``), instead of packed."""
    return not is_linear or (stored.bits == 8 and stored.symmetric and stored.group == PER_CHANNEL)


def _per_token() -> dict[str, object]:
    return {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}
