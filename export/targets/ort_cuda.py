"""Target ``ort-cuda``: an ONNX graph in 16 bits for onnxruntime's CUDA provider; it is built and checked anywhere."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
import onnxruntime
import torch

from compress.checkpoint.base import Checkpoint
from compress.errors import MissingComponentError, UsageError
from compress.export.parity.verify import compute_dtype
from compress.export.targets.base import OnnxTarget, weight_only_capability
from compress.graph.builder import GraphBuilder
from compress.onnx_names import CUDA_PROVIDER, LENGTHS
from compress.pipeline.contract import Pass


class OrtCuda(OnnxTarget):
    """Holds floats of 16 bits and weight-only integers of 4 and 8 bits with one scale a channel or a group.

    The graph is computed in float16, which all of CUDA's attention operators take, or after the pass ``bf16`` in
    bfloat16. Source: onnxruntime's ``docs/OperatorKernels.md``.
    """

    name = "ort-cuda"
    folder = "onnx-cuda"
    default_dtype = "float16"
    genai_provider = "cuda"
    # Attention whose rotations switch stays standard: it has not been held against torch on a GPU when fused.
    capability = replace(weight_only_capability(name), groups_switching=False)

    def dtype(self, checkpoint: Checkpoint) -> torch.dtype:
        """16-bit type that a pass chose, else float16."""
        return torch.bfloat16 if compute_dtype(checkpoint) == torch.bfloat16 else torch.float16

    def prepare(self, model: ir.Model) -> None:
        """Let attention find each text's last token by its mask, in place of counting the mask's columns.

        These are as many as a step's cache has room for where its shapes may not change, as in a CUDA graph.
        """
        graph, builder = model.graph, GraphBuilder(model.graph)
        nodes = [node for node in graph if node.op_type == "GroupQueryAttention"]
        if not nodes:
            return
        mask = next(value for value in graph.inputs if value.name == "attention_mask")
        columns = builder.size(mask, 1)
        first, step = (builder.constant(i, f"column.{i}") for i in (0, 1))
        marked = builder.op("Mul", mask, builder.op("Range", first, columns, step))
        last = builder.op("ReduceMax", marked, builder.constant([1], "columns"), keepdims=0)
        last = builder.op("Cast", last, to=int(ir.DataType.INT32))
        builder.insert_before(nodes[0])
        for node in nodes:
            node.replace_input_with(LENGTHS, last)

    def check(self, passes: Sequence[Pass], merge: bool = False) -> None:
        """Refuse an int8 cache too: attention takes no mask beside it on CUDA."""
        super().check(passes, merge)
        if any(getattr(pass_, "kv", "float") == "int8" for pass_ in passes):
            raise UsageError("ort-cuda's attention takes no padding on an int8 cache; leave out kv=int8")

    def complete(self, checkpoint: Checkpoint, folder: Path) -> None:
        """Raise a MissingComponentError where there is no GPU to run the artifact; it is complete as it is."""
        if CUDA_PROVIDER not in onnxruntime.get_available_providers() or shutil.which("nvidia-smi") is None:
            raise MissingComponentError(
                f"{folder} is written, but runs only on an NVIDIA GPU with pip install 'compress-models[gpu]'"
            )
