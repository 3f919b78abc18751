"""Target ``tensorrt``: a strongly typed graph of standard operators, checked here, and the engine made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import onnx_ir as ir
from onnx_ir.tensor_adapters import from_torch_dtype
from transformers import PretrainedConfig

from compress.checkpoint.artifact import Artifact
from compress.checkpoint.base import Checkpoint
from compress.errors import UsageError
from compress.export.files.companions import GRAPH, copy_tokenizer, write_metadata
from compress.export.lowering import qdq
from compress.export.lowering.decompose import decompose
from compress.export.lowering.float_graph import FloatGraph
from compress.export.lowering.lower import Lowered
from compress.export.parity.prove import compute_dtype, lower_and_verify
from compress.export.source import export_with_fallback, unsupported_reason
from compress.export.targets.base import Target
from compress.export.trt.build import build_engine, shape_profiles, write_script
from compress.export.trt.lint import lint_graph
from compress.modeling.architecture import Architecture, longest_input
from compress.modeling.families import FAMILIES
from compress.pipeline.contract import GraphPass, TargetCapability
from compress.progress import Progress
from compress.weights.forms import Dense, Factored, Masked, Quantized, Residual, leaves, mask_of
from compress.weights.stored import StoredForm

_OPSET, _IR_VERSION = 21, 10
"""The first with blocks of integers; every TensorRT 11 reads it."""
_LONGEST = 2048
"""Tokens of a text that the engine makes room for."""


def _unsupported_reason(config: PretrainedConfig) -> str | None:
    """As for any graph; and models that see, whose shapes an engine's profiles don't tell yet."""
    return f"{config.model_type} models" if FAMILIES[config.model_type].kind.is_vision else unsupported_reason(config)


class TensorRt(Target):
    """Holds floats, 8-bit integers with one scale a channel and 4-bit ones in blocks, without zero points.

    The graph is computed in the type of the checkpoint's vectors: the passes ``fp16`` and ``bf16`` choose it.
    """

    name = "tensorrt"
    folder = "tensorrt"
    graph = "auto"
    capability = TargetCapability(
        name,
        (Dense, Masked, Quantized, Factored, Residual),
        bits=frozenset({4, 8}),
        graphs=False,
        any_inputs=False,
        unsupported_reason=_unsupported_reason,
    )
    restricted = True

    def check_weights(self, architecture: Architecture, weights: Mapping[str, StoredForm]) -> None:
        """Refuse integers that explicit dequantization doesn't hold there."""
        super().check_weights(architecture, weights)
        for name, form in weights.items():
            if reason := qdq.unsupported_reason(name, form, name in architecture.outline.tables):
                raise UsageError(f"tensorrt can't hold {reason}")

    def export(
        self, checkpoint: Checkpoint, graph_passes: Sequence[GraphPass], out: Path, progress: Progress
    ) -> Artifact:
        """Write the graph, prove its numbers on ort-cpu, check what TensorRT would refuse, and write ``build.sh``."""

        def write(built: FloatGraph) -> tuple[ir.Model, Lowered]:
            decompose(built.model)
            built.model.opset_imports[""], built.model.ir_version = _OPSET, _IR_VERSION
            write_metadata(built.model, checkpoint, graph_passes, self.name)
            dtype = compute_dtype(checkpoint)
            check = partial(lint_graph, dtype=from_torch_dtype(dtype))
            return built.model, lower_and_verify(built, checkpoint, qdq, dtype, out, progress, check)

        model, lowered = export_with_fallback(checkpoint, self.graph, False, write, progress)
        copy_tokenizer(checkpoint.path, out)
        sparse = _is_sparse(checkpoint)
        write_script(out, shape_profiles(model, _room(checkpoint)), sparse)
        sizes = checkpoint.parameters, lowered.stored_bytes, lowered.read_bytes
        zeros = lowered.zeros and not sparse
        artifact = Artifact(out, self.name, checkpoint.kind, *sizes, zeros=zeros, products=lowered.products)
        artifact.save()
        return artifact

    def complete(self, checkpoint: Checkpoint, folder: Path) -> None:
        """Build the engine of the graph in ``folder``; a MissingComponentError where that can't be done."""
        wanted = shape_profiles(ir.load(folder / GRAPH), _room(checkpoint))
        build_engine(folder, wanted, _is_sparse(checkpoint))


def _room(checkpoint: Checkpoint) -> int:
    return min(longest_input(checkpoint.config), _LONGEST)


def _is_sparse(checkpoint: Checkpoint) -> bool:
    """Whether zeros are kept on purpose, and lie two in every four inputs wherever they are."""
    manifest = getattr(checkpoint, "manifest", None)
    masked = [name for name, form in getattr(manifest, "weights", {}).items() if any(f.masked for f in form.leaves)]
    masks = [mask for name in masked for leaf in leaves(checkpoint.weight(name)) if (mask := mask_of(leaf)) is not None]
    fours = [mask.unflatten(1, (-1, 4)).sum(2) if mask.shape[1] % 4 == 0 else None for mask in masks]
    return bool(masks) and all(four is not None and bool((four <= 2).all()) for four in fours)
