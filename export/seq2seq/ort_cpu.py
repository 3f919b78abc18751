"""Encoder-decoders on ``ort-cpu``: two graphs beside one file of tensors, each verified by itself."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir
from transformers import PretrainedConfig

from compress.checkpoint.base import Checkpoint
from compress.checkpoint.files.artifact import Artifact
from compress.export.files.companions import copy_tokenizer, write_metadata
from compress.export.parity.verify import lower_and_verify
from compress.export.seq2seq.graphs import build_graphs
from compress.modeling.seq2seq import CROSS_ATTENTION_KV, decoder_start_token
from compress.onnx_names import DECODER
from compress.pipeline.contract import GraphPass
from compress.progress import Progress

_LOOKUPS = ("Gather", "GatherBlockQuantized")


def export_seq2seq(
    checkpoint: Checkpoint, graph_passes: Sequence[GraphPass], out: Path, progress: Progress, target: str
) -> Artifact:
    """Declare, fuse, lower, write and verify both graphs; the artifact loads from ``out``."""
    shapes = checkpoint.shapes
    models = build_graphs(checkpoint.config, {name: shapes[name] for name in checkpoint.names}, bool(graph_passes))
    for model in models.values():
        for graph_pass in graph_passes:
            graph_pass.rewrite(model)
        write_metadata(model, checkpoint, graph_passes, target)
    lowered = lower_and_verify(models, checkpoint, checkpoint, out, progress).values()
    copy_tokenizer(checkpoint.path, out)
    _write_config(checkpoint.config, out)
    artifact = Artifact(
        out,
        target,
        checkpoint.kind,
        checkpoint.parameters,
        stored_bytes=max(facts.stored_bytes for facts in lowered),
        read_bytes=_read_bytes(models[DECODER]),
        zeros=any(facts.zeros for facts in lowered),
        products=any(facts.products for facts in lowered),
    )
    artifact.save()
    return artifact


def _write_config(config: PretrainedConfig, out: Path) -> None:
    """The checkpoint's, for loaders beside which the graphs lie alone; what the decoder starts with is always in it."""
    facts = {**config.to_dict(), "decoder_start_token_id": decoder_start_token(config)}
    facts.pop("_name_or_path", None)  # a path of the machine that this ran on
    (out / "config.json").write_text(json.dumps(facts, indent=2, default=str) + "\n")


def _read_bytes(decoder: ir.Model) -> int:
    """Bytes read per token: no table that is only looked up in, and nothing that made a cache at the start."""
    loaded: dict[ir.Value | None, tuple[object, int]] = {  # other shapes of one tensor are read as one
        value: ((stored.offset, stored.dtype), stored.nbytes)
        for name, value in decoder.graph.initializers.items()
        if isinstance(stored := value.const_value, ir.ExternalTensor) and not CROSS_ATTENTION_KV.search(name)
    }
    read: dict[object, int] = {}
    for node in decoder.graph:
        constants = [value for value in node.inputs if value in loaded]
        if constants and all(value in loaded or value.is_initializer() for value in node.inputs if value is not None):
            [result] = node.outputs  # the runtime computes it as it loads the graph
            loaded[result] = loaded[constants[0]]
            if result.dtype is not None and result.shape is not None:
                loaded[result] = (result, int(math.prod(result.shape.numpy()) * result.dtype.itemsize))
        elif node.op_type not in _LOOKUPS:
            read |= dict(loaded[value] for value in constants)
    return sum(read.values())
