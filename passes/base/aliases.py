"""Aliases of the integer passes' options: the names that llm-compressor and GPTQModel have for them."""

from __future__ import annotations

from compress.passes.base.skip import IGNORE
from compress.pipeline.alias import Alias, choose

_INDEXED = "groups that follow the order need an index of every input at run time; use actorder=weight"


def _same_bits(pass_type: type, value: str) -> str:
    name, bits = pass_type.__name__.lower(), getattr(pass_type, "bits", 0)
    if value == str(bits):
        return value
    if value in ("2", "3", "4", "8"):
        raise ValueError(f"{name} has {bits} bits; use int{value}")
    raise ValueError(f"{name} has {bits} bits; there are int2, int3, int4 and int8")


INTEGER_ALIASES = {
    "bits": Alias(None, _same_bits),
    "num_bits": Alias(None, _same_bits),
    "group_size": Alias("group", lambda _, value: "channel" if value == "-1" else value),
    "symmetric": Alias("symmetry", choose({"true": "sym", "false": "asym"})),
    "actorder": Alias(
        "order",
        choose(
            {"weight": "gar", "static": "gar", "null": "natural", "none": "natural"},
            {"group": _INDEXED, "dynamic": _INDEXED},
        ),
    ),
    "ignore": IGNORE,
}
