"""Checkpoints of tiny models that a test writes, then edits: tensors and settings of the config."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

Tensors = dict[str, torch.Tensor]
SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
DISTILBERT = {"vocab_size": 96, "dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 64}


def build(name: str, **options: Any) -> PreTrainedModel:
    """A random module of a transformers class, 32 channels wide; ``options`` are of its config."""
    cls = getattr(transformers, name)
    sizes = DISTILBERT if name.startswith("Distil") else SIZES
    if name.endswith("CausalLM"):
        sizes = {**sizes, "num_key_value_heads": 2}
    if name.startswith("Qwen3"):
        sizes = {**sizes, "head_dim": 8}
    torch.manual_seed(0)
    return cls(cls.config_class(**sizes, **options)).eval()


def edit(path: Path, change: Callable[[Tensors], object]) -> None:
    """Change a checkpoint's tensors in place."""
    tensors = load_file(path / "model.safetensors")
    change(tensors)
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


def configure(path: Path, **changes: Any) -> None:
    """Change settings of a checkpoint's config; None removes one."""
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({k: v for k, v in {**config, **changes}.items() if v is not None}))
