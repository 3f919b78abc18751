"""Encoder-decoders on ``ort-cpu``: two graphs beside one sidecar, each proved by itself."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

import onnx_ir as ir
from transformers import PretrainedConfig

from compress.checkpoint.artifact import Artifact
from compress.checkpoint.base import Checkpoint
from compress.export.files.companions import copy_tokenizer, write_metadata
from compress.export.lowering.external_data import ExternalData
from compress.export.lowering.lower import Lowered, lower
from compress.export.lowering.weights import Dequantized, Weights
from compress.export.parity.compare import Trace, check_close, check_rounded
from compress.export.parity.sample import sample_input
from compress.export.parity.seq2seq_reference import Traces, reference_traces, traces_with_rounded_inputs
from compress.export.seq2seq.graphs import build_graphs
from compress.modeling.seq2seq import CROSS_ATTENTION_KV, decoder_start_token
from compress.onnx_names import DECODER
from compress.pipeline.contract import GraphPass
from compress.progress import Progress, Silent

_LOOKING_UP = ("Gather", "GatherBlockQuantized")


def export_seq2seq(
    checkpoint: Checkpoint, graph_passes: Sequence[GraphPass], out: Path, progress: Progress, target: str
) -> Artifact:
    """Declare, fuse, lower, write and prove both graphs; the artifact loads from ``out``."""
    shapes = checkpoint.shapes
    models = build_graphs(checkpoint.config, {name: shapes[name] for name in checkpoint.names}, bool(graph_passes))
    for model in models.values():
        for one in graph_passes:
            one.rewrite(model)
        write_metadata(model, checkpoint, graph_passes, target)
    lowered = _prove(models, checkpoint, out, progress)
    copy_tokenizer(checkpoint.path, out)
    _write_config(checkpoint.config, out)
    artifact = Artifact(
        out,
        target,
        checkpoint.kind,
        checkpoint.parameters,
        stored_bytes=max(each.stored_bytes for each in lowered),
        read_bytes=_read_bytes(models[DECODER]),
        zeros=any(each.zeros for each in lowered),
        products=any(each.products for each in lowered),
    )
    artifact.save()
    return artifact


def _write_config(config: PretrainedConfig, out: Path) -> None:
    """The checkpoint's, for loaders beside which the graphs lie alone; what the decoder starts with is always in it."""
    facts = {**config.to_dict(), "decoder_start_token_id": decoder_start_token(config)}
    facts.pop("_name_or_path", None)  # a path of the machine that this ran on
    (out / "config.json").write_text(json.dumps(facts, indent=2, default=str) + "\n")


def _prove(models: Mapping[str, ir.Model], checkpoint: Checkpoint, out: Path, progress: Progress) -> list[Lowered]:
    """Lower graphs into ``out`` and hold them against torch, as `compress.export.targets.ort_cpu` does with one."""
    module, ids = checkpoint.torch_module(), sample_input(checkpoint)
    said = reference_traces(module, ids)
    del module  # the whole model, which writing the graphs has no use for
    shaken = cache(lambda: traces_with_rounded_inputs(checkpoint.torch_module(), ids))
    twins = {file: model.clone() for file, model in models.items()}
    lowered = _write(models, checkpoint, out, progress)
    dynamic = any(each.rounding == "always" for each in lowered)
    with tempfile.TemporaryDirectory() as scratch:
        if dynamic:
            _write(twins, Dequantized(checkpoint), Path(scratch), Silent())
        for file in models:
            check_close((Path(scratch) if dynamic else out) / file, said[file])
    for file, each in zip(models, lowered, strict=True):
        if each.rounding != "never":
            check_rounded(out / file, said[file][0], partial(_first, shaken, file), {})
    return lowered


def _first(talks: Callable[[], Traces], file: str) -> Trace:
    return talks()[file][0]


def _write(models: Mapping[str, ir.Model], weights: Weights, out: Path, progress: Progress) -> list[Lowered]:
    """Lower graphs into one folder; what they share lies there once."""
    with ExternalData(out) as sidecar:
        lowered = [lower(model, weights, sidecar, progress) for model in models.values()]
    for file, model in models.items():
        ir.save(model, out / file)
    return lowered


def _read_bytes(decoder: ir.Model) -> int:
    """What writing a token reads: no table that is only looked up in, and nothing that made a cache at the start."""
    read: dict[int | None, int] = {}
    for name, value in decoder.graph.initializers.items():
        stored = value.const_value
        users = {use.node.op_type for use in value.uses()}
        if (
            isinstance(stored, ir.ExternalTensor)
            and not CROSS_ATTENTION_KV.search(name)
            and not users <= set(_LOOKING_UP)
        ):
            read[stored.offset] = stored.nbytes
    return sum(read.values())
