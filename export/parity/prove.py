"""Graphs of one floating-point type throughout, proved equal to torch although 16 bits round."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import onnx_ir as ir
import torch

from compress.checkpoint.base import Checkpoint
from compress.export.files.companions import GRAPH
from compress.export.lowering.external_data import ExternalData
from compress.export.lowering.float_graph import FloatGraph
from compress.export.lowering.kv_scales import fill_scales, float_cache
from compress.export.lowering.lower import Lowered, Nodes, lower
from compress.export.lowering.retype import cast_graph
from compress.export.lowering.weights import SlicedWeights
from compress.export.parity.compare import check_close, check_rounded, reference_traces, traces_with_rounded_inputs
from compress.export.parity.sample import sample_input
from compress.progress import Progress, Silent


def compute_dtype(checkpoint: Checkpoint) -> torch.dtype:
    """The type that most of a checkpoint's vectors have: the passes ``fp16`` and ``bf16`` choose it."""
    vectors = [name for name in checkpoint.names if name.endswith("bias") or "norm" in name.lower()]
    return checkpoint.tensor(vectors[-1]).dtype


def lower_and_verify(
    built: FloatGraph,
    checkpoint: Checkpoint,
    nodes: Nodes,
    dtype: torch.dtype,
    out: Path,
    progress: Progress,
    check: Callable[[ir.Model], None] = lambda model: None,
) -> Lowered:
    """Lower a graph into ``out`` by ``nodes``, computed in ``dtype``, and hold it against torch, on ort-cpu.

    In float32 the file itself has to agree. In 16 bits a float32 twin of it, from the same integers, has to; then the
    file, which rounds, must come close, except for bfloat16, which ort-cpu has no operators for. An int8 cache rounds
    too: the twin's is float. ``check`` sees the graph before it is written. Raises ExportError.
    """
    model, weights = built.model, SlicedWeights(checkpoint, built.rows)
    module, ids = checkpoint.torch_module(), sample_input(checkpoint)
    scales = fill_scales(model, module, ids)
    said = reference_traces(module, checkpoint.kind, ids)
    del module  # the whole model, which writing the graph has no use for
    if dtype != torch.float32:
        with tempfile.TemporaryDirectory() as scratch:
            twin = model.clone()
            float_cache(twin)
            with ExternalData(Path(scratch)) as sidecar:
                lower(twin, weights, sidecar, Silent(), nodes)
            ir.save(twin, Path(scratch) / GRAPH)
            check_close(Path(scratch) / GRAPH, said)
    with ExternalData(out) as sidecar:
        lowered = lower(model, weights, sidecar, progress, nodes, dtype)
    cast_graph(model, dtype)
    check(model)
    ir.save(model, out / GRAPH)
    if dtype == torch.float32:
        check_close(out / GRAPH, said)
    elif dtype == torch.float16:
        rounded = cache(lambda: traces_with_rounded_inputs(checkpoint.torch_module(), checkpoint.kind, ids)[0])
        check_rounded(out / GRAPH, said[0], rounded, scales)
    else:
        progress.notice("ort-cpu can't run bfloat16: a float32 twin of the graph was proved in its place")
    return lowered
