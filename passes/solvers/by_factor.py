"""Apply a dense solver to both factors of a low-rank product.

Of a product ``left @ right`` the right factor reads the inputs x, the left one what the right one makes of them. So the
right factor is solved first, together with whatever else reads x, and the left one on the statistics of its outputs as
they are by then: it makes the right one's error good as well as its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from compress.errors import PassError
from compress.weights.forms import Dense, Factored, part_name

if TYPE_CHECKING:
    from compress.calibration.statistics import LinearInput
    from compress.weights.forms import Quantized, Weight


class Solution(Protocol):
    """A solver's result for one dense matrix."""

    @property
    def weight(self) -> Dense | Quantized:
        """The matrix as it is stored from now on."""


F = TypeVar("F", bound=Solution)


def by_factor(
    pass_name: str, weights: Mapping[str, Weight], inputs: LinearInput | None, solve: Callable[..., Mapping[str, F]]
) -> dict[str, F]:
    """Solve matrices that read the same inputs, products among them; results are named as in `leaf_names`.

    ``pass_name`` is the pass, for the PassError where a matrix is neither dense nor a product of dense ones.
    """
    first = {leaf_names(name, weight)[-1]: _dense(pass_name, name, weight, -1) for name, weight in weights.items()}
    solved = dict(solve(first, inputs))
    for name, weight in weights.items():
        if isinstance(weight, Factored):
            left, right = leaf_names(name, weight)
            propagated = inputs and inputs.propagated(weight.right.dequantize(), solved[right].weight.dequantize())
            solved |= solve({left: _dense(pass_name, name, weight, 0)}, propagated)
    return solved


def leaf_names(name: str, weight: Weight) -> list[str]:
    """Names of a matrix's leaves: its own, or those of a product's factors, the left one first."""
    return [part_name(name, "left"), part_name(name, "right")] if isinstance(weight, Factored) else [name]


def rejoined(name: str, weight: Weight, solved: Mapping[str, Solution]) -> Weight:
    """Rebuild the matrix ``name`` from its solved leaves, as a product where ``weight`` is one."""
    *left, last = [solved[leaf].weight for leaf in leaf_names(name, weight)]
    return replace(weight, left=left[0], right=last) if isinstance(weight, Factored) else last


def each_factor(pass_name: str, name: str, weight: Weight, change: Callable[[Dense], Dense | Quantized]) -> Weight:
    """Change a dense matrix, or both factors of a product; a PassError of that pass for other forms."""
    if isinstance(weight, Factored):
        left, right = (change(_dense(pass_name, name, weight, which)) for which in (0, 1))
        return replace(weight, left=left, right=right)
    return change(_dense(pass_name, name, weight, 0))


def _dense(pass_name: str, name: str, weight: Weight, which: int) -> Dense:
    leaf = (weight.left, weight.right)[which] if isinstance(weight, Factored) else weight
    if not isinstance(leaf, Dense):
        raise PassError(f"{pass_name} works on dense weights and products of them; {name} is {type(leaf).__name__}")
    return leaf
