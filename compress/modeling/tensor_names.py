"""Map a checkpoint's tensor names to those of the transformers module."""

from __future__ import annotations

from collections.abc import Callable, Iterable

# Ends of names that old checkpoints store, though the module computes them.
_COMPUTED = ("rotary_emb.inv_freq", "position_ids", "masked_bias", "attn.bias", "attention.bias")
_NORM_PARTS = {"gamma": "weight", "beta": "bias"}
"""TensorFlow's names of a norm's tensors, and torch's."""


def stored_names(
    names: Iterable[str], stored: Iterable[str], prefix: str, module_name: Callable[[str], str]
) -> dict[str, str]:
    """For each of the module's tensors the checkpoint's name of it, if it has one.

    The base model's ``prefix`` ("bert", "model") may be there or not on either side, and TensorFlow's old norm names
    ``gamma`` and ``beta`` stand for ``weight`` and ``bias``. ``module_name`` as in `Architecture`.
    """
    modern = {_modern(module_name(name)): name for name in stored}
    matches = {}
    for name in names:
        for candidate in (name, f"{prefix}.{name}", name.removeprefix(f"{prefix}.")):
            if candidate in modern:
                matches[name] = modern[candidate]
                break
    return matches


def unused_tensors(stored: Iterable[str], used: Iterable[str]) -> list[str]:
    """The checkpoint's tensors that nothing uses, but for those that every module computes for itself."""
    in_use = set(used)
    return [name for name in stored if name not in in_use and not name.endswith(_COMPUTED)]


def _modern(name: str) -> str:
    stem, _, last = name.rpartition(".")
    return f"{stem}.{_NORM_PARTS.get(last, last)}" if "Norm" in stem else name
