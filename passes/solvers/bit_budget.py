"""Mixed bit widths: spend a budget of bytes where it saves most of the model's own loss.

The widths with the least sum of losses within the budget are found exactly, and compared with one width for all on
other text than that which the losses were measured on: where they aren't better there, they aren't taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from compress.errors import UsageError
from compress.passes.solvers.budget import Rung, spend_budget
from compress.passes.solvers.width_losses import measure_losses, width_variations

if TYPE_CHECKING:
    from compress.calibration.survey import Survey
    from compress.passes.solvers.width_losses import Trial, WidthLosses
    from compress.pipeline.contract import TargetCapability


def plan_widths(
    survey: Survey, budget: float, choices: Sequence[int], trial: Trial, skipped: Callable[[str], bool]
) -> dict[str, int]:
    """Choose bits by matrix, by measuring the model's loss; matrices that it doesn't name get `one_width`.

    They are at most ``budget`` a weight on average, and all of one of the two widths next to it: what fewer bits lose
    is more than squared errors tell, and what more bits would save, the correction of mismatched inputs saves as well.
    Names that are ``skipped`` stay as they are. Where a mixture does no better than one width on other text, that is
    what they all get, and the user is told.
    """
    uniform = one_width(choices, budget)
    if uniform == budget:
        return {}  # nothing is left to be shared out
    wider = min(bits for bits in choices if bits > budget)
    groups = measure_losses(survey, (uniform, wider), trial, skipped)
    one = {name: uniform for group in groups for name in group.names}
    mixture = choose_widths(groups, budget)
    if mixture == one:
        return {}
    candidates = {"one": one, "mixture": mixture}
    actual = survey.divergences(width_variations(candidates, trial), held_out=True)
    if actual["mixture"] < actual["one"]:
        return mixture
    survey.notice(
        f"{trial.pass_name}: mixed={budget:g} gives every matrix {uniform} bits: on calibration text that no width was "
        f"chosen by, the best mixture loses {actual['mixture']:.3g}, this {actual['one']:.3g}"
    )
    return {}


def one_width(choices: Sequence[int], budget: float) -> int:
    """The widest of the ``choices`` within a budget of bits."""
    return max(bits for bits in choices if bits <= budget)


def choose_widths(groups: Sequence[WidthLosses], budget: float) -> dict[str, int]:
    """Choose bits by matrix, at most ``budget`` a weight on average, so that the sum of losses is the least.

    The budget counts in bytes as stored: those of one width for all, or between those of the two next to it.
    """
    ladders = {
        i: [Rung(group.costs[bits], group.losses[bits]) for bits in sorted(group.losses)]
        for i, group in enumerate(groups)
    }
    rungs = spend_budget(ladders, sum(_cost(group.costs, budget) for group in groups))
    return {name: sorted(group.losses)[rungs[i]] for i, group in enumerate(groups) for name in group.names}


def _cost(costs: Mapping[int, int], budget: float) -> float:
    """The bytes of so many bits a weight, between those of the widths next to it."""
    low = max(bits for bits in costs if bits <= budget)
    high = min((bits for bits in costs if bits >= budget), default=low)
    return costs[low] + (costs[high] - costs[low]) * (budget - low) / ((high - low) or 1)


def check_budget(pass_name: str, mixed: float, choices: tuple[int, ...]) -> None:
    """Refuse, with a UsageError of a pass, a budget of bits a weight that no mixture of widths can meet."""
    if not choices[0] <= mixed <= choices[-1]:
        raise UsageError(f"{pass_name}: mixed={mixed:g} is out of reach of {_listed(choices)} bits")


def check_bits(pass_name: str, widths: set[int], target: TargetCapability) -> None:
    """Refuse, with a UsageError of a pass, widths that the target can't hold."""
    if unsupported := sorted(widths - target.bits):
        nearest = min(target.bits, key=lambda bits: (abs(bits - unsupported[0]), -bits))
        raise UsageError(
            f"{pass_name}: {target.name} holds integers of {_listed(sorted(target.bits))} bits, not "
            f"{unsupported[0]}; use int{nearest}, or --target hf"
        )


def _listed(numbers: Iterable[int]) -> str:
    *most, last = map(str, numbers)
    return f"{', '.join(most)} and {last}" if most else last
