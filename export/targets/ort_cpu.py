"""Target ``ort-cpu``: an ONNX graph with its sidecar for onnxruntime's CPU provider."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import onnx_ir as ir
from transformers import PretrainedConfig

from compress.checkpoint.artifact import FOLDER, Artifact
from compress.checkpoint.base import Checkpoint
from compress.export.files.companions import GRAPH, copy_tokenizer, write_metadata
from compress.export.files.genai_config import write_genai_config
from compress.export.lowering.external_data import ExternalData
from compress.export.lowering.float_graph import FloatGraph
from compress.export.lowering.kv_scales import fill_scales, float_cache
from compress.export.lowering.lower import Lowered, lower
from compress.export.lowering.weights import Dequantized, SlicedWeights
from compress.export.parity.compare import check_close, check_rounded, reference_traces, traces_with_rounded_inputs
from compress.export.parity.sample import sample_input
from compress.export.seq2seq import graphs as seq2seq_graphs
from compress.export.seq2seq.ort_cpu import export_seq2seq
from compress.export.source import export_with_fallback, unsupported_reason
from compress.export.targets.base import Target
from compress.pipeline.contract import GraphPass, TargetCapability
from compress.progress import Progress, Silent
from compress.weights.forms import Dense, Factored, Masked, Quantized, Residual


def _unsupported_reason(config: PretrainedConfig) -> str | None:
    return seq2seq_graphs.unsupported_reason(config) if config.is_encoder_decoder else unsupported_reason(config)


class OrtCpu(Target):
    """Holds floats (32 or 16 bits) and integers (2, 4, 8 bits) with one scale a channel or a group."""

    name = "ort-cpu"
    folder = FOLDER
    graph = "auto"
    capability = TargetCapability(
        name,
        (Dense, Masked, Quantized, Factored, Residual),
        bits=frozenset({2, 4, 8}),
        unsupported_reason=_unsupported_reason,
    )

    def export(
        self, checkpoint: Checkpoint, graph_passes: Sequence[GraphPass], out: Path, progress: Progress
    ) -> Artifact:
        """Build or trace, fuse, lower, write and prove; the artifact loads from ``out``."""
        if checkpoint.kind.is_seq2seq:
            return export_seq2seq(checkpoint, graph_passes, out, progress, self.name)

        def write(built: FloatGraph) -> tuple[ir.Model, Lowered]:
            for one in graph_passes:
                one.rewrite(built.model)
            write_metadata(built.model, checkpoint, graph_passes, self.name)
            return built.model, _prove(built, checkpoint, out, progress)

        model, lowered = export_with_fallback(checkpoint, self.graph, bool(graph_passes), write, progress)
        copy_tokenizer(checkpoint.path, out)
        if checkpoint.kind.is_decoder_only:
            write_genai_config(model, checkpoint.config, checkpoint.path, out)
        sizes = checkpoint.parameters, lowered.stored_bytes, lowered.read_bytes
        artifact = Artifact(out, self.name, checkpoint.kind, *sizes, zeros=lowered.zeros, products=lowered.products)
        artifact.save()
        return artifact


def _prove(built: FloatGraph, checkpoint: Checkpoint, out: Path, progress: Progress) -> Lowered:
    """Lower a graph into ``out`` and hold it against torch, computed in float.

    Weight-only integers are proved as they lie in the file. Where operators can't but round, their inputs or the cache,
    the same graph with dequantized weights or a float cache is proved in their place, and the file must come close.
    """
    model, weights = built.model, SlicedWeights(checkpoint, built.rows)
    module, ids = checkpoint.torch_module(), sample_input(checkpoint)
    scales = fill_scales(model, module, ids)
    said = reference_traces(module, checkpoint.kind, ids)
    del module  # the whole model, which writing the graph has no use for
    twin = model.clone()
    with ExternalData(out) as sidecar:
        lowered = lower(model, weights, sidecar, progress)
    ir.save(model, out / GRAPH)
    if scales or lowered.rounding == "always":
        float_cache(twin)
        with tempfile.TemporaryDirectory() as scratch:
            with ExternalData(Path(scratch)) as sidecar:
                lower(twin, Dequantized(weights) if lowered.rounding == "always" else weights, sidecar, Silent())
            ir.save(twin, Path(scratch) / GRAPH)
            check_close(Path(scratch) / GRAPH, said)
    else:
        check_close(out / GRAPH, said)
    if scales or lowered.rounding != "never":
        rounded = cache(lambda: traces_with_rounded_inputs(checkpoint.torch_module(), checkpoint.kind, ids)[0])
        check_rounded(out / GRAPH, said[0], rounded, scales)
    return lowered
