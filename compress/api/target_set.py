"""Set of targets: a variant is solved once, for what all of them hold, and exported to each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from compress.errors import UsageError
from compress.export.targets.base import Target, find_target
from compress.formats.base import CheckpointFormat
from compress.modeling.architecture import Architecture
from compress.pipeline.contract import GraphPass, Pass, TargetCapability, WeightPass
from compress.pipeline.parse import Pipeline
from compress.weights.stored import StoredForm


@dataclass(frozen=True)
class TargetSet:
    """Targets in the order in which they were named; what one of them can't hold is refused for all."""

    targets: tuple[Target, ...]

    @classmethod
    def parse(cls, text: str, checkpoint_format: str | None = None) -> TargetSet:
        """The targets of a list such as ``ort-cpu,gguf``, checkpoints of them in a format.

        Raises UsageError for an unknown target, one that is named twice, and a format that none of them can have.
        """
        names = text.split(",")
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise UsageError(f"target {twice} is given twice")
        targets = tuple(map(find_target, names))
        if checkpoint_format is None:
            return cls(targets)
        if all(target.folder for target in targets):
            targets[0].with_format(checkpoint_format)  # which tells that it has none
        return cls(tuple(t if t.folder else t.with_format(checkpoint_format) for t in targets))

    def __iter__(self) -> Iterator[Target]:
        return iter(self.targets)

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def name(self) -> str:
        """The targets' names, as `parse` reads them."""
        return ",".join(target.name for target in self.targets)

    @cached_property
    def capability(self) -> TargetCapability:
        """What all of them hold."""
        return TargetCapability.shared([target.capability for target in self.targets])

    @property
    def format(self) -> CheckpointFormat:
        """Format of the variant's checkpoint: that of the target that loads it, where there is one."""
        return next((target for target in self.targets if not target.folder), self.targets[0]).format

    @property
    def restricted(self) -> bool:
        """Whether one of them has to know how every matrix will be stored."""
        return any(target.restricted for target in self.targets)

    @property
    def float_target(self) -> Target | None:
        """The first with a graph, whose float export is a scorecard's baseline."""
        return next((target for target in self.targets if target.capability.graphs), None)

    def check(self, passes: Sequence[Pass], merge: bool = False) -> None:
        """Refuse, with a UsageError, what one of them can't hold, as `Target.check` does.

        Graph passes concern those with a graph; there must be one.
        """
        weight_passes = [pass_ for pass_ in passes if isinstance(pass_, WeightPass)]
        for target in self.targets:
            leaves_graphs = self.capability.graphs and not target.capability.graphs
            target.check(weight_passes if leaves_graphs else passes, merge)

    def check_weights(self, architecture: Architecture, weights: Mapping[str, StoredForm]) -> None:
        """Refuse, with a UsageError, matrices that one of them can't hold."""
        for target in self.targets:
            target.check_weights(architecture, weights)

    def check_context(self, context: int | None) -> None:
        """Refuse, with a UsageError, a limit to the length of texts where none of them has a graph to hold it."""
        if all(target.graph is None for target in self.targets):
            self.targets[0].check_context(context)

    def contender_name(self, variant: str, target: Target) -> str:
        """Name of a variant's artifact among those of this set: the variant's own, where there is one of each."""
        return variant if len(self.targets) == 1 else f"{variant}/{target.name}"


def graph_passes(pipeline: Pipeline, target: Target) -> tuple[GraphPass, ...]:
    """The graph passes of a pipeline, where the target has a graph for them."""
    return pipeline.graph_passes if target.capability.graphs else ()
