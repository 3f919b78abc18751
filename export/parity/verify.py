"""Lower graphs in one dtype and verify them against torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir
import torch
from torch import Tensor

from compress.checkpoint.base import Checkpoint
from compress.errors import ModelError
from compress.export.lowering import onnxruntime
from compress.export.lowering.cast import cast_graph
from compress.export.lowering.external_data import ExternalData
from compress.export.lowering.kv_scales import Scales, fill_scales
from compress.export.lowering.last_token import last_token_graph
from compress.export.lowering.lower import Lowered, Nodes, lower
from compress.export.lowering.weights import Weights
from compress.export.parity import reference, seq2seq_reference
from compress.export.parity.compare import check_cache, check_close, check_rounded, check_stored
from compress.export.parity.reference import Trace
from compress.export.parity.sample import sample_input
from compress.export.parity.torch_rounding import rounded_cache, rounded_inputs
from compress.modeling.quiet import first_line
from compress.onnx_names import LAST_TOKEN_FILE, MODEL_FILE
from compress.progress import Progress, Silent
from compress.system.memory import free_memory
from compress.system.staging import scratch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Traces = Mapping[str, list[Trace]]
"""A model's traces by the graphs' files."""
_DOUBLE = 12
"""Bytes a weight of a model that is loaded in float32 and turned to float64."""


def compute_dtype(checkpoint: Checkpoint) -> torch.dtype:
    """The type that most of a checkpoint's float vectors have, which the passes ``fp16`` and ``bf16`` choose.

    float32 where there are none, and for float64, which no runtime here computes in.
    """
    vectors = [name for name, shape in checkpoint.shapes.items() if len(shape) == 1 and name in checkpoint.names]
    dtypes = Counter(checkpoint.tensor(name).dtype for name in vectors)
    floats = [dtype for dtype, _ in dtypes.most_common() if dtype.is_floating_point]
    return floats[0] if floats and floats[0] != torch.float64 else torch.float32


def lower_and_verify(
    graphs: Mapping[str, ir.Model],
    weights: Weights,
    checkpoint: Checkpoint,
    out: Path,
    progress: Progress,
    *,
    nodes: Nodes = onnxruntime,
    dtype: torch.dtype = torch.float32,
    check: Callable[[ir.Model], None] = lambda model: None,
    head: str | None = None,
) -> dict[str, Lowered]:
    """Lower float graphs, by their files, into ``out`` by ``nodes``, computed in ``dtype``; compare them with torch.

    With ``head``, the `head_input` of a decoder's graph, there will be its `last_token_graph` as well.

    In float32 what lies in the file is compared, every number of it, computed in float; where operators round their
    inputs or the cache, the file must come close as it runs, too. Of a graph in 16 bits a twin in float32 is compared
    in its place; the numbers of the file must come close in float32, and the file as it runs, except in bfloat16, which
    ort-cpu has no operators for. ``check`` sees each graph before it is written. Raises ExportError.
    """
    module, inputs = checkpoint.torch_module(), sample_input(checkpoint)
    scales = {file: fill_scales(model, module, inputs) for file, model in graphs.items()}
    expected = _reference_traces(module, checkpoint, inputs)
    cached = {file: _cached_trace(module, inputs, scales[file]) for file in graphs if scales[file]}
    exact = cache(partial(_exact_traces, checkpoint, inputs))
    del module  # the whole model, which writing the graphs has no use for
    twins = {} if dtype == torch.float32 else {file: model.clone() for file, model in graphs.items()}
    lowered = _write(graphs, weights, out, progress, nodes, dtype, check, head)
    if dtype == torch.float32:
        _check_all(out, expected, exact)
    else:
        with scratch("parity") as folder:
            _write(twins, weights, folder, Silent(), nodes, head=head)
            _check_all(folder, expected, exact)
        stored = cache(partial(_stored_traces, checkpoint, inputs, dtype))
        for file in graphs:
            check_stored(out / file, expected[file][0], partial(_first, stored, file), dtype)
    if dtype == torch.bfloat16:
        progress.notice("ort-cpu can't run bfloat16: the graph was verified in float32, on the numbers of its file")
        return lowered
    rounded = cache(partial(_rounded_traces, checkpoint, inputs))
    for file, trace in cached.items():
        check_cache(out / file, expected[file][0], trace, scales[file])
    for file, facts in lowered.items():
        if dtype == torch.float16 or scales[file] or facts.rounding != "never":
            for graph in (file, LAST_TOKEN_FILE) if head else (file,):
                check_rounded(out / graph, expected[graph][0], partial(_first, rounded, graph), scales[file])
    return lowered


def _write(
    graphs: Mapping[str, ir.Model],
    weights: Weights,
    out: Path,
    progress: Progress,
    nodes: Nodes,
    dtype: torch.dtype = torch.float32,
    check: Callable[[ir.Model], None] = lambda model: None,
    head: str | None = None,
) -> dict[str, Lowered]:
    """Lower graphs into one folder; tensors that they share lie there once."""
    with ExternalData(out) as external:
        lowered = {file: lower(model, weights, external, progress, nodes, dtype) for file, model in graphs.items()}
    for file, model in graphs.items():
        cast_graph(model, dtype)
        check(model)
        ir.save(model, out / file)
        if head is not None:
            ir.save(last_token_graph(model, head), out / LAST_TOKEN_FILE)
    return lowered


def _check_all(folder: Path, expected: Traces, exact: Callable[[], Traces]) -> None:
    for file, traces in expected.items():
        if (folder / file).exists():
            check_close(folder / file, traces, partial(_of_file, exact, file))


def _reference_traces(module: PreTrainedModel, checkpoint: Checkpoint, inputs: Tensor) -> Traces:
    """The torch model's outputs by the graphs' files; a ModelError for a model that transformers itself can't run."""
    chain = None if checkpoint.sentence is None else checkpoint.sentence.chain
    try:
        if checkpoint.kind.is_seq2seq:
            return seq2seq_reference.reference_traces(module, inputs)
        traces = reference.reference_traces(module, checkpoint.kind, inputs, chain, checkpoint.context)
        if checkpoint.kind.is_decoder_only:
            return {MODEL_FILE: traces, LAST_TOKEN_FILE: reference.last_token_traces(traces)}
        return {MODEL_FILE: traces}
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        name = type(module).__name__
        raise ModelError(
            f"transformers can't run this {name} itself ({first_line(error)}); look at config.json"
        ) from error


def _cached_trace(module: PreTrainedModel, inputs: Tensor, scales: Scales) -> Trace:
    """The first of a decoder's traces where torch rounds its cache to int8."""
    with rounded_cache(module, scales):
        return reference.text_trace(module, inputs)


def _exact_traces(checkpoint: Checkpoint, inputs: Tensor) -> Traces:
    """The same in float64; none where memory doesn't reach for that, or the model's own code."""
    if _DOUBLE * checkpoint.parameters > free_memory():
        return {}
    module = checkpoint.torch_module().double()
    try:
        return _reference_traces(module, checkpoint, inputs.double() if inputs.is_floating_point() else inputs)
    except ModelError:  # one that computes in float32 here and there
        return {}


def _rounded_traces(checkpoint: Checkpoint, inputs: Tensor) -> Traces:
    """The same where every linear rounds its inputs to 8 bits."""
    module = checkpoint.torch_module()
    with rounded_inputs(module):
        return _reference_traces(module, checkpoint, inputs)


def _stored_traces(checkpoint: Checkpoint, inputs: Tensor, dtype: torch.dtype) -> Traces:
    """The same on weights that are rounded to 16 bits."""
    module = checkpoint.torch_module()
    for parameter in module.parameters():
        parameter.data = parameter.data.to(dtype).float()
    return _reference_traces(module, checkpoint, inputs)


def _of_file(traces: Callable[[], Traces], file: str) -> list[Trace]:
    return traces().get(file, [])


def _first(traces: Callable[[], Traces], file: str) -> Trace:
    return traces()[file][0]
