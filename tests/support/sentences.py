"""Sentence encoders as sentence-transformers writes them: a transformer's folder, ``modules.json`` and its folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

OLD = "sentence_transformers.models."
"""Where the classes of modules lay until version 5."""
NEW = {
    "Transformer": "sentence_transformers.base.modules.transformer.",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.",
    "Dense": "sentence_transformers.base.modules.dense.",
    "LayerNorm": "sentence_transformers.sentence_transformer.modules.layer_norm.",
    "Normalize": "sentence_transformers.base.modules.normalize.",
}
"""Where they lie since."""
Module = tuple[str, dict[str, Any], dict[str, torch.Tensor]]
"""The class of a module, its settings and its tensors."""


def pooling(*modes: str, width: int = 64, **settings: Any) -> Module:
    """A pooling in today's spelling."""
    return "Pooling", {"embedding_dimension": width, "pooling_mode": list(modes), **settings}, {}


def cls_pooling(width: int = 64) -> Module:
    """A pooling of the first token in the older spelling."""
    names = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    modes = {f"pooling_mode_{name}": name == "cls_token" for name in names}
    return "Pooling", {"word_embedding_dimension": width, **modes}, {}


def dense(inputs: int, outputs: int, activation: str = "torch.nn.modules.activation.Tanh", **settings: Any) -> Module:
    """A dense layer of random weights."""
    generator = torch.Generator().manual_seed(inputs + outputs)
    tensors = {"linear.weight": torch.randn(outputs, inputs, generator=generator) / inputs**0.5}
    tensors |= {"linear.bias": torch.randn(outputs, generator=generator)} if settings.get("bias", True) else {}
    if settings.get("use_residual") and inputs != outputs:
        tensors["residual.weight"] = torch.randn(outputs, inputs, generator=generator)
    facts = {"in_features": inputs, "out_features": outputs, "bias": True, "activation_function": activation}
    return "Dense", {**facts, **settings}, tensors


def layer_norm(width: int) -> Module:
    """A layer norm of weights that are no ones."""
    weight = torch.linspace(0.5, 1.5, width)
    return "LayerNorm", {"dimension": width}, {"norm.weight": weight, "norm.bias": weight.flip(0)}


NORMALIZE: Module = ("Normalize", {}, {})


def save_modules(
    root: Path, modules: Sequence[Module], transformer: str = "", names: Mapping[str, str] | None = None, **facts: Any
) -> Path:
    """Write the modules behind the transformer in ``root / transformer``; ``facts`` are the transformer's settings."""
    classes: list[Module] = [("Transformer", {}, {}), *modules]
    paths = [transformer, *(f"{i}_{module[0]}" for i, module in enumerate(classes) if i)]
    rows = [
        {"idx": i, "name": str(i), "path": path, "type": f"{(names or {}).get(module[0], OLD)}{module[0]}"}
        for i, (path, module) in enumerate(zip(paths, classes, strict=True))
    ]
    (root / "modules.json").write_text(json.dumps(rows))
    for path, (_, settings, tensors) in list(zip(paths, classes, strict=True))[1:]:
        (root / path).mkdir(exist_ok=True)
        if settings:
            (root / path / "config.json").write_text(json.dumps(settings))
        if tensors:
            save_file(tensors, root / path / "model.safetensors")
    settings_file = root / transformer / "sentence_bert_config.json"
    settings_file.write_text(json.dumps({"max_seq_length": 40, "do_lower_case": False, **facts}))
    facts_file = root / "config_sentence_transformers.json"
    facts_file.write_text(json.dumps({"prompts": {"query": "the quick "}, "similarity_fn_name": "cosine"}))
    return root


def save_sentence_encoder(
    root: Path, checkpoint: Path, modules: Sequence[Module], transformer: str = "", **options: Any
) -> Path:
    """Copy a transformer's checkpoint into ``root / transformer`` and write its modules."""
    shutil.copytree(checkpoint, root / transformer, dirs_exist_ok=True)
    return save_modules(root, modules, transformer, **options)
