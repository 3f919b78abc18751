"""Target ``ort-cuda``: an ONNX graph in 16 bits for onnxruntime's CUDA provider; it is built and checked anywhere."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import torch
from onnx_ir.tape import Tape

from compress.checkpoint.artifact import Artifact
from compress.checkpoint.base import Checkpoint
from compress.errors import MissingComponentError, UsageError
from compress.export.files.companions import copy_tokenizer, write_metadata
from compress.export.files.genai_config import write_genai_config
from compress.export.lowering import onnxruntime as lowering
from compress.export.lowering.float_graph import FloatGraph
from compress.export.lowering.lower import Lowered
from compress.export.parity.prove import compute_dtype, lower_and_verify
from compress.export.source import export_with_fallback, unsupported_reason
from compress.export.targets.base import Target
from compress.onnx_names import LENGTHS
from compress.pipeline.contract import GraphPass, Pass, TargetCapability
from compress.progress import Progress
from compress.weights.forms import Dense, Factored, Masked, Quantized, Residual

PROVIDER = "CUDAExecutionProvider"


class OrtCuda(Target):
    """Holds floats of 16 bits and weight-only integers of 4 and 8 bits with one scale a channel or a group.

    The graph is computed in float16, which all of CUDA's attention operators take, or after the pass ``bf16`` in
    bfloat16. Source: onnxruntime's ``docs/OperatorKernels.md``.
    """

    name = "ort-cuda"
    folder = "onnx-cuda"
    default_dtype = "float16"
    graph = "auto"
    capability = TargetCapability(
        name,
        (Dense, Masked, Quantized, Factored, Residual),
        bits=frozenset({4, 8}),
        any_inputs=False,
        unsupported_reason=unsupported_reason,
    )

    def export(
        self, checkpoint: Checkpoint, graph_passes: Sequence[GraphPass], out: Path, progress: Progress
    ) -> Artifact:
        """Build or trace, fuse, lower, write and prove; the artifact loads from ``out``."""
        dtype = torch.bfloat16 if compute_dtype(checkpoint) == torch.bfloat16 else torch.float16

        def write(built: FloatGraph) -> tuple[ir.Model, Lowered]:
            for one in graph_passes:
                one.rewrite(built.model)
            _find_last(built.model.graph)
            write_metadata(built.model, checkpoint, graph_passes, self.name)
            return built.model, lower_and_verify(built, checkpoint, lowering, dtype, out, progress)

        model, lowered = export_with_fallback(checkpoint, self.graph, bool(graph_passes), write, progress)
        copy_tokenizer(checkpoint.path, out)
        if checkpoint.kind.is_decoder_only:
            write_genai_config(model, checkpoint.config, checkpoint.path, out, provider="cuda")
        sizes = checkpoint.parameters, lowered.stored_bytes, lowered.read_bytes
        artifact = Artifact(out, self.name, checkpoint.kind, *sizes, zeros=lowered.zeros, products=lowered.products)
        artifact.save()
        return artifact

    def check(self, passes: Sequence[Pass], merge: bool = False) -> None:
        """Refuse an int8 cache too: attention takes no mask beside it on CUDA."""
        super().check(passes, merge)
        if any(getattr(one, "kv", "float") == "int8" for one in passes):
            raise UsageError("ort-cuda's attention takes no padding on an int8 cache; leave out kv=int8")

    def complete(self, checkpoint: Checkpoint, folder: Path) -> None:
        """Nothing is left to do, but the artifact can be run only where a GPU is: else a MissingComponentError."""
        if PROVIDER not in onnxruntime.get_available_providers() or shutil.which("nvidia-smi") is None:
            raise MissingComponentError(
                f"{folder} is written, but runs only on an NVIDIA GPU with pip install 'compress-models[gpu]'"
            )


def _find_last(graph: ir.Graph) -> None:
    """Let attention find each text's last token by its mask, in place of counting the mask's columns.

    These are as many as a step's cache has room for where its shapes may not change, as in a CUDA graph.
    """
    nodes = [node for node in graph if node.op_type == "GroupQueryAttention"]
    if not nodes:
        return
    mask, tape = next(value for value in graph.inputs if value.name == "attention_mask"), Tape()
    columns = tape.op("Squeeze", [tape.op("Shape", [mask], {"start": 1, "end": 2})])
    first, step = (tape.initializer(ir.tensor(np.array(i), name=f"column.{i}")) for i in (0, 1))
    marked = tape.op("Mul", [mask, tape.op("Range", [first, columns, step])])
    axes = tape.initializer(ir.tensor(np.array([1]), name="columns"))
    last = tape.op("ReduceMax", [marked, axes], {"keepdims": 0})
    last = tape.op("Cast", [last], {"to": int(ir.DataType.INT32)})
    graph.insert_before(nodes[0], tape.nodes)
    for value in tape.initializers:
        graph.initializers.add(value)
    for node in nodes:
        node.replace_input_with(LENGTHS, last)
