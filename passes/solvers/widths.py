"""Which widths of integers a target can hold, and which budgets they can meet."""

from __future__ import annotations

from collections.abc import Iterable

from compress.errors import UsageError
from compress.pipeline.contract import TargetCapability


def check_budget(item: str, mixed: float, choices: tuple[int, ...]) -> None:
    """Refuse, in the name of the pass ``item``, a budget of bits a weight that no mixture of widths can meet."""
    if not choices[0] <= mixed <= choices[-1]:
        raise UsageError(f"{item}: mixed={mixed:g} is out of reach of {_listed(choices)} bits")


def check_bits(item: str, wanted: set[int], target: TargetCapability) -> None:
    """Refuse, in the name of the pass ``item``, widths that the target can't hold."""
    if odd := sorted(wanted - target.bits):
        other = min(target.bits, key=lambda bits: (abs(bits - odd[0]), -bits))
        raise UsageError(
            f"{item}: {target.name} holds integers of {_listed(sorted(target.bits))} bits, not {odd[0]}; use "
            f"int{other}, or --target hf"
        )


def _listed(numbers: Iterable[int]) -> str:
    *most, last = map(str, numbers)
    return f"{', '.join(most)} and {last}" if most else last
