"""Targets: a runtime is one class, registered by having a name; `OnnxTarget` is what those with one graph share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import ClassVar, Self

import onnx_ir as ir
import torch
from transformers import PretrainedConfig

from compress.checkpoint.base import Checkpoint
from compress.checkpoint.files.artifact import Artifact
from compress.errors import UsageError
from compress.export import targets as targets_room
from compress.export.files.companions import copy_tokenizer, write_metadata
from compress.export.files.genai_config import write_genai_config
from compress.export.lowering import onnxruntime
from compress.export.lowering.float_graph import FloatGraph, GraphSource
from compress.export.lowering.last_token import head_input
from compress.export.lowering.lower import Lowered, Nodes
from compress.export.lowering.position_table import compute_tables, shorten_tables
from compress.export.lowering.weights import SlicedWeights
from compress.export.parity.verify import lower_and_verify
from compress.export.sentence_embedding import append_sentence_embedding
from compress.export.source import export_with_fallback, unsupported_reason
from compress.formats.base import CheckpointFormat
from compress.formats.compressed_tensors import CompressedTensorsFormat
from compress.modeling.architecture import Architecture
from compress.modeling.rotations import switches
from compress.onnx_names import LAST_TOKEN_FILE, MODEL_FILE
from compress.pipeline.contract import GraphPass, Pass, TargetCapability, WeightPass
from compress.progress import Progress
from compress.registry import create, import_all
from compress.weights.forms import Dense, Factored, Masked, Quantized, Residual
from compress.weights.stored import StoredForm

EVERY_FORM: tuple[type, ...] = (Dense, Masked, Quantized, Factored, Residual)
"""Weight forms that a target with an ONNX graph holds."""
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
    """checkpoint format of the variants that are made for it"""
    default_dtype: ClassVar[str] = "float32"
    """in which type its graphs compute where no pass says otherwise"""
    graph: GraphSource | None = None
    """where its graphs come from; None where it has none"""
    restricted: bool = False
    """whether `check_weights` refuses some of the matrices of the forms that are held, so that they have to be known"""

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        if "name" in cls.__dict__:
            _registry[cls.name] = cls

    def check(self, passes: Sequence[Pass], merge: bool = False) -> None:
        """Refuse, with a UsageError, passes that leave what this target can't hold, before the work.

        With ``merge`` products are multiplied out before they get here.
        """
        supported = {*self.capability.forms, *((Factored, Residual) if merge else ())}
        for pass_ in passes:
            name = pass_.name
            if isinstance(pass_, GraphPass) and not self.capability.graphs:
                raise UsageError(f"graph pass {name} does not apply to target {self.name}; remove it")
            forms = pass_.output_forms() if isinstance(pass_, WeightPass) else ()
            if unsupported := [form.__name__ for form in forms if form not in supported]:
                raise UsageError(f"{self.name} can't hold what {name} produces ({', '.join(unsupported)}); {self.fix}")

    def check_weights(self, architecture: Architecture, weights: Mapping[str, StoredForm]) -> None:
        """Refuse, with a UsageError that names the fix, an architecture or matrices that this target can't hold.

        ``weights`` are all matrices by name, as a prediction tells of them before the work, or a manifest after it.
        """
        for name, form in weights.items():
            if form.parts and Factored not in self.capability.forms:
                raise UsageError(f"{self.name} can't hold a product ({name}); {self.fix}")
            if not self.capability.any_inputs and any(leaf.act is not None for leaf in form.leaves):
                raise UsageError(f"{self.name} can't hold inputs that are rounded as they come ({name}); give act=none")
            if unsupported := {leaf.bits for leaf in form.leaves} - {None, *self.capability.bits}:
                raise UsageError(f"{self.name} can't hold {unsupported.pop()} bits ({name}); --target hf can")
        if reason := self.format.unsupported_reason(architecture, weights):
            raise UsageError(reason)

    def with_format(self, name: str) -> Self:
        """Choose the checkpoint format of variants; a UsageError where the target has one of its own."""
        raise UsageError(f"--format is for --target hf; {self.name} has one of its own")

    def with_graph(self, source: GraphSource) -> Self:
        """Choose where graphs come from; a UsageError where the target has none."""
        if self.graph is None:
            raise UsageError(f"--graph is for targets that have one, such as ort-cpu; {self.name} has none")
        other = copy(self)
        other.graph = source
        return other

    def check_context(self, context: int | None) -> None:
        """Refuse, with a UsageError, a limit to the length of texts where no artifact holds anything by position."""
        if context is not None and self.graph is None:
            raise UsageError(
                f"--context is for targets that have a graph, such as ort-cpu; {self.name} serves as long texts as "
                "whoever loads it asks for"
            )

    @abstractmethod
    def export(
        self, checkpoint: Checkpoint, graph_passes: Sequence[GraphPass], out: Path, progress: Progress
    ) -> Artifact:
        """Write an artifact into ``out``, an empty directory, and verify it against torch; else ExportError."""

    def complete(self, checkpoint: Checkpoint, folder: Path) -> None:
        """Finish the artifact in ``folder`` once it is in its place; by default there is nothing to do.

        Raises MissingComponentError where that can't be done here.
        """
        return None


def weight_only_capability(
    name: str,
    graphs: bool = True,
    unsupported_reason: Callable[[PretrainedConfig], str | None] = unsupported_reason,
) -> TargetCapability:
    """Capability of a target on a GPU: every weight form, integers of 4 and 8 bits, inputs as they are."""
    return TargetCapability(
        name,
        EVERY_FORM,
        bits=frozenset({4, 8}),
        graphs=graphs,
        any_inputs=False,
        unsupported_reason=unsupported_reason,
    )


class OnnxTarget(Target):
    """A target whose artifact is one ONNX graph: rewritten, lowered, verified, with a tokenizer beside it.

    A subclass says what is its own by the hooks `dtype`, `prepare`, `check_graph`, `skips_zeros` and `after`.
    """

    graph = "auto"
    nodes: ClassVar[Nodes] = onnxruntime
    """how its runtime wants each weight form"""
    groups_attention: ClassVar[bool] = True
    """whether its runtime has GroupQueryAttention"""
    computes_tables: ClassVar[bool] = False
    """whether its runtime computes what is constant as it loads a graph, exactly in float32"""
    gives_last_token: ClassVar[bool] = False
    """whether decoders get a graph for generation as well, of the last token's logits alone"""
    genai_provider: ClassVar[str | None] = None
    """what onnxruntime-genai calls its runtime, for ``genai_config.json``; None where it isn't run by that"""

    def export(
        self, checkpoint: Checkpoint, graph_passes: Sequence[GraphPass], out: Path, progress: Progress
    ) -> Artifact:
        """Build or trace a graph, rewrite, lower and verify it; the artifact loads from ``out``."""
        write = partial(self._write, checkpoint, graph_passes, out, progress)
        switching = bool(switches(checkpoint.config))
        grouped = self.groups_attention and (self.capability.groups_switching or not switching)
        model, lowered = export_with_fallback(checkpoint, self.graph, bool(graph_passes), grouped, write, progress)
        copy_tokenizer(checkpoint.path, out)
        if self.genai_provider is not None and checkpoint.kind.is_decoder_only:
            source, context = checkpoint.path, checkpoint.longest_text
            write_genai_config(model, checkpoint.config, source, out, self.genai_provider, context)
        self.after(model, checkpoint, out)
        artifact = Artifact(
            out,
            self.name,
            checkpoint.kind,
            checkpoint.parameters,
            lowered.stored_bytes,
            lowered.read_bytes,
            zeros=lowered.zeros and not self.skips_zeros(checkpoint),
            products=lowered.products,
            context=checkpoint.context,
        )
        artifact.save()
        return artifact

    def _write(
        self,
        checkpoint: Checkpoint,
        graph_passes: Sequence[GraphPass],
        out: Path,
        progress: Progress,
        graph: FloatGraph,
    ) -> tuple[ir.Model, Lowered]:
        """Lower one float graph into ``out``."""
        model, dtype = graph.model, self.dtype(checkpoint)
        for graph_pass in graph_passes:
            graph_pass.rewrite(model)
        if checkpoint.sentence is not None:
            append_sentence_embedding(model, checkpoint.sentence.chain)
        self.prepare(model)
        if checkpoint.context is not None:
            shorten_tables(model, checkpoint.context)
        if self.computes_tables:
            compute_tables(model)
        write_metadata(model, checkpoint, graph_passes, self.name)
        (out / LAST_TOKEN_FILE).unlink(missing_ok=True)  # of a graph from another source, which differed
        generates = self.gives_last_token and checkpoint.kind.is_decoder_only
        lowered = lower_and_verify(
            {MODEL_FILE: model},
            SlicedWeights(checkpoint, graph.rows),
            checkpoint,
            out,
            progress,
            nodes=self.nodes,
            dtype=dtype,
            check=partial(self.check_graph, dtype=dtype),
            head=head_input(model) if generates else None,
        )
        return model, lowered[MODEL_FILE]

    def dtype(self, checkpoint: Checkpoint) -> torch.dtype:
        """Floating-point type that the graph is computed in."""
        return torch.float32

    def prepare(self, model: ir.Model) -> None:
        """Change a float graph in place to what the runtime takes, after the graph passes."""
        return None

    def check_graph(self, model: ir.Model, dtype: torch.dtype) -> None:
        """Raise an ExportError for a lowered graph that the runtime would refuse."""
        return None

    def skips_zeros(self, checkpoint: Checkpoint) -> bool:
        """Whether the runtime gains by the zeros that are kept on purpose."""
        return False

    def after(self, model: ir.Model, checkpoint: Checkpoint, out: Path) -> None:
        """Write what the runtime needs besides the graph."""
        return None


def targets() -> dict[str, type[Target]]:
    """Every known target by name: one in each module of this room that defines one."""
    import_all(targets_room)
    return dict(sorted(_registry.items()))


def find_target(name: str) -> Target:
    """The target of that name; a UsageError with the nearest one where there is none."""
    return create("target", name, targets())
