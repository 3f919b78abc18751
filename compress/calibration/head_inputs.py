"""Inputs of the output head: what the compressed layers deliver to it, and what the original's do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from compress.calibration.flow import Flow
from compress.calibration.layer_inputs import BlockInputs
from compress.calibration.statistics import SAMPLE_ROWS, InputStatistics, RunningStatistics, Statistic


class HeadInputs(BlockInputs):
    """The inputs of the head, whose weight is stored as ``name``.

    ``flows`` are through with all layers: the compressed model's, and the original's where it rides along. ``tensors``
    reads what lies outside of the layers.
    """

    def __init__(self, name: str, flows: Sequence[Flow], tensors: Callable[[], Mapping[str, Tensor]]) -> None:
        self._name = name
        self._flows = flows
        self._tensors = tensors
        self.batches = flows[0].batches

    def stages(self) -> list[tuple[str, ...]]:
        """The head alone."""
        return [(self._name,)]

    def statistics(self, level: Statistic, names: Sequence[str] | None = None) -> InputStatistics:
        """Statistics of what the head reads behind the last norm; nothing of what a pass does to the head is in them.

        The last norm is the model's own.
        """
        if level is Statistic.NONE or (names is not None and self._name not in names):
            return {}
        flows = self._flows if level >= Statistic.MISMATCH else self._flows[:1]
        share, running = max(1, SAMPLE_ROWS // self.batches), None
        with flows[0].materialized(self._tensors()):  # all flows go through one module
            for batch in range(self.batches):
                x, *originals = (flow.head_input(batch) for flow in flows)
                running = running or RunningStatistics(level, x.shape[-1])
                running.update(x, share, *originals)
        return {} if running is None else {self._name: running.finish()}
