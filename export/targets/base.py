"""What a runtime is to the rest of the program: one class, registered by having a name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, ClassVar, Self

from compress.checkpoint.artifact import Artifact
from compress.checkpoint.base import Checkpoint
from compress.errors import UsageError
from compress.export import targets as targets_room
from compress.export.lowering.float_graph import GraphSource
from compress.formats.base import CheckpointFormat
from compress.formats.compressed_tensors import CompressedTensorsFormat
from compress.modeling.architecture import Architecture
from compress.pipeline.contract import GraphPass, Pass, TargetCapability, WeightPass
from compress.progress import Progress
from compress.registry import import_all, made
from compress.weights.forms import Factored, Residual
from compress.weights.stored import StoredForm

_registry: dict[str, type[Target]] = {}


class Target(ABC):
    """A runtime that artifacts are written for."""

    name: ClassVar[str]
    folder: ClassVar[str]
    """where a variant's artifact lies inside it; empty where the variant itself is what is loaded"""
    capability: ClassVar[TargetCapability]
    fix: ClassVar[str] = "choose another target"
    """what to do where a pass leaves a form that it can't hold"""
    format: CheckpointFormat = CompressedTensorsFormat()
    """of the variants that are made for it"""
    default_dtype: ClassVar[str] = "float32"
    """in which type its graphs compute where no pass says otherwise"""
    graph: GraphSource | None = None
    """where its graphs come from; None where it has none"""
    restricted: bool = False
    """whether `check_weights` refuses some of the matrices of the forms that are held, so that they have to be known"""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" in cls.__dict__:
            _registry[cls.name] = cls

    def check(self, passes: Sequence[Pass], merge: bool = False) -> None:
        """Refuse, with a UsageError, passes that leave what this target can't hold, before the work.

        With ``merge`` products are multiplied out before they get here.
        """
        held = {*self.capability.forms, *((Factored, Residual) if merge else ())}
        for one in passes:
            if isinstance(one, GraphPass) and not self.capability.graphs:
                raise UsageError(f"{self.name} has no graph for {one.name} to change; leave {one.name} out")
            forms = one.output_forms() if isinstance(one, WeightPass) else ()
            if odd := [form.__name__ for form in forms if form not in held]:
                raise UsageError(f"{self.name} can't hold what {one.name} produces ({', '.join(odd)}); {self.fix}")

    def check_weights(self, architecture: Architecture, weights: Mapping[str, StoredForm]) -> None:
        """Refuse, with a UsageError that names the fix, an architecture or matrices that this target can't hold.

        ``weights`` are all matrices by name, as a prediction tells of them before the work, or a manifest after it.
        """
        for name, form in weights.items():
            if form.parts and Factored not in self.capability.forms:
                raise UsageError(f"{self.name} can't hold a product ({name}); {self.fix}")
            if not self.capability.any_inputs and any(leaf.act is not None for leaf in form.leaves):
                raise UsageError(f"{self.name} can't hold inputs that are rounded as they come ({name}); give act=none")
            if odd := {leaf.bits for leaf in form.leaves} - {None, *self.capability.bits}:
                raise UsageError(f"{self.name} can't hold {odd.pop()} bits ({name}); --target hf can")
        if refused := self.format.unsupported_reason(architecture, weights):
            raise UsageError(refused)

    def with_format(self, name: str) -> Self:
        """This target with variants in the format of that name; a UsageError where it isn't for it to choose."""
        raise UsageError(f"--format is for --target hf; {self.name} has one of its own")

    def with_graph(self, source: GraphSource) -> Self:
        """This target with graphs from there; a UsageError where it has none."""
        if self.graph is None:
            raise UsageError(f"--graph is for targets that have one, such as ort-cpu; {self.name} has none")
        other = copy(self)
        other.graph = source
        return other

    @abstractmethod
    def export(
        self, checkpoint: Checkpoint, graph_passes: Sequence[GraphPass], out: Path, progress: Progress
    ) -> Artifact:
        """Write an artifact into ``out``, an empty directory, and prove it equal to torch; else ExportError."""

    def complete(self, checkpoint: Checkpoint, folder: Path) -> None:
        """Do what the artifact in ``folder`` stands without, once it is in its place; by default there is nothing.

        Raises MissingComponentError where that can't be done here.
        """
        return None


def targets() -> dict[str, type[Target]]:
    """Every known target by name: one in each module of this room that defines one."""
    import_all(targets_room)
    return dict(sorted(_registry.items()))


def find_target(name: str) -> Target:
    """The target of that name; a UsageError with the nearest one where there is none."""
    return made("target", name, targets())
