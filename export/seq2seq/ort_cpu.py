"""Encoder-decoders on ``ort-cpu``: two graphs beside one file of tensors, each verified by itself."""

from __future__ import annotations

import json
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
    read: dict[int | None, int] = {}
    for name, value in decoder.graph.initializers.items():
        stored = value.const_value
        users = {use.node.op_type for use in value.uses()}
        if isinstance(stored, ir.ExternalTensor) and not CROSS_ATTENTION_KV.search(name) and not users <= set(_LOOKUPS):
            read[stored.offset] = stored.nbytes
    return sum(read.values())
