"""Target ``ort-cpu``: an ONNX graph with its sidecar for onnxruntime's CPU provider."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir
import torch
from torch import Tensor

from compress import __version__
from compress.artifact import Artifact
from compress.checkpoint import Checkpoint
from compress.contract import GraphPass, Pass, WeightPass
from compress.errors import UsageError
from compress.export.genai import write_genai_config
from compress.export.graph import build
from compress.export.lower import Lowered, Weights, lower
from compress.export.parity import Talk, compare, compare_rounded, references
from compress.export.sample import sample
from compress.export.sidecar import Sidecar
from compress.export.target import Target
from compress.progress import Progress, Silent
from compress.weight import Dense, Quantized, Weight

GRAPH = "model.onnx"
_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "generation_config.json",
)


class OrtCpu(Target):
    """Holds floats (32 or 16 bits) and integers (2, 4, 8 bits) with one scale a channel or a group."""

    name = "ort-cpu"

    def check(self, passes: Sequence[Pass]) -> None:
        """Refuse passes that leave factored weights: their lowering is not written."""
        for one in passes:
            odd = [form.__name__ for form in getattr(one, "produces", ()) if form not in (Dense, Quantized)]
            if isinstance(one, WeightPass) and odd:
                raise UsageError(f"{self.name} can't hold what {one.name} produces ({', '.join(odd)})")

    def export(self, checkpoint: Checkpoint, graph_passes: Sequence[GraphPass], out: Path, progress: Progress) -> Artifact:
        """Build, fuse, lower, write and prove; the artifact loads from ``out``."""
        model = build(checkpoint.config, checkpoint.names, fused=bool(graph_passes))
        for one in graph_passes:
            one.rewrite(model)
        talks = references(checkpoint.torch_module(), checkpoint.kind, sample(checkpoint))
        return None
