"""Survey of a whole model on a few calibration windows, for passes that decide before they run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from compress.calibration.divergence import divergences
from compress.calibration.walk import walk_blocks

if TYPE_CHECKING:
    from compress.calibration.block import Block
    from compress.calibration.divergence import Changes, Key
    from compress.calibration.layer_inputs import BlockInputs
    from compress.checkpoint.model import Model
    from compress.progress import Progress

_WALKED = 4
"""Calibration windows that a walk reads."""
_MEASURED, _HELD_OUT = (2, 128), (8, 256)
"""Windows on which variations are measured, and others on which a decision is checked, and their tokens.

Variations of the former kind are many: each costs a forward pass from where it departs on.
"""
_SOLVED = 8
"""Windows of the same kind that give the statistics which variations are solved with."""


@dataclass(frozen=True)
class Survey:
    """A model and its calibration ``inputs``, int64 ``[windows, length]`` or images; None where there are none."""

    model: Model
    inputs: Tensor | None
    progress: Progress

    def __call__(self) -> Iterator[tuple[Block, BlockInputs]]:
        """Walk through the model's blocks as they are, with their inputs."""
        few = None if self.inputs is None else self.inputs[:_WALKED]
        return walk_blocks(self.model, few, self.progress, doing="surveying")

    def divergences(self, changes: Changes[Key], held_out: bool = False) -> dict[Key, float]:
        """Measure what variations of the model do to its predictions, as `divergence.divergences` does.

        On some windows, or with ``held_out`` on others, where there is more than one. There must be inputs.
        """
        assert self.inputs is not None, "variations are measured on calibration inputs"
        windows = self.inputs[1::2] if held_out and len(self.inputs) > 1 else self.inputs[::2]
        count, length = _HELD_OUT if held_out else _MEASURED
        some = _spread(windows, count)
        read = _spread(windows, _SOLVED)
        return divergences(self.model, some if some.ndim > 2 else some[:, :length], read, changes, self.progress)

    def notice(self, text: str) -> None:
        """Show one line that the user should not miss."""
        self.progress.notice(text)


def _spread(windows: Tensor, count: int) -> Tensor:
    """So many of the windows, from all over them."""
    return windows[:: max(1, len(windows) // count)][:count]
