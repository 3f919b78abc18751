"""Files and metadata exported next to a graph: its provenance, tokenizer and image processor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir

from compress.calibration.images import PROCESSOR
from compress.checkpoint.base import Checkpoint
from compress.escape import printable
from compress.pipeline.contract import GraphPass
from compress.system.leftovers import name_in_place
from compress.system.regular_files import copy_file, refusal
from compress.version import __version__

_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "spiece.model",
    "source.spm",
    "target.spm",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "generation_config.json",
    PROCESSOR,
)


def write_metadata(model: ir.Model, checkpoint: Checkpoint, graph_passes: Sequence[GraphPass], target: str) -> None:
    """Write a graph's metadata: its source's name, the passes that made it and its target."""
    recipe = [*checkpoint.recipe, *map(str, graph_passes)]
    model.producer_name, model.producer_version = "compress", __version__
    model.metadata_props.update(
        {
            "source": printable(name_in_place(checkpoint.path)),
            "recipe": ",".join(dict.fromkeys(recipe)),
            "target": target,
        }
    )


def copy_tokenizer(source: Path, out: Path) -> None:
    """Copy the tokenizer's and image processor's files that exist."""
    for name in _TOKENIZER:
        if refusal(source / name) is None:
            copy_file(source / name, out / name)
