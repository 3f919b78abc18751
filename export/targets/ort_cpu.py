"""Target ``ort-cpu``: an ONNX graph with its tensors beside it for onnxruntime's CPU provider."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformers import PretrainedConfig

from compress.checkpoint.base import Checkpoint
from compress.checkpoint.files.artifact import FOLDER, Artifact
from compress.export.lowering.block_packing import BITS
from compress.export.seq2seq import graphs
from compress.export.seq2seq.ort_cpu import export_seq2seq
from compress.export.source import unsupported_reason
from compress.export.targets.base import EVERY_FORM, OnnxTarget
from compress.pipeline.contract import GraphPass, TargetCapability
from compress.progress import Progress


def _unsupported_reason(config: PretrainedConfig) -> str | None:
    return graphs.unsupported_reason(config) if config.is_encoder_decoder else unsupported_reason(config)


class OrtCpu(OnnxTarget):
    """Holds floats (32 or 16 bits) and integers (2, 3, 4, 6, 8 bits) with one scale a channel or a group."""

    name = "ort-cpu"
    folder = FOLDER
    computes_tables = True
    gives_last_token = True
    genai_provider = "cpu"
    capability = TargetCapability(name, EVERY_FORM, bits=frozenset(BITS), unsupported_reason=_unsupported_reason)

    def export(
        self, checkpoint: Checkpoint, graph_passes: Sequence[GraphPass], out: Path, progress: Progress
    ) -> Artifact:
        """Write one graph, or an encoder-decoder's two; the artifact loads from ``out``."""
        if checkpoint.kind.is_seq2seq:
            return export_seq2seq(checkpoint, graph_passes, out, progress, self.name)
        return super().export(checkpoint, graph_passes, out, progress)
