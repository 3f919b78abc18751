"""``config.json`` of a checkpoint, read and refused before transformers sees it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from compress.errors import ModelError
from compress.modeling.adapter_config import AdapterConfig
from compress.modeling.bounds import check_bounds
from compress.modeling.no_checkpoint import explain
from compress.system.regular_files import read_json

_ATTENTION = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")
_OWN_ATTENTION = ("eager", "sdpa", "flex_attention", "grouped_mm", "batched_mm", None)
_LARGEST_CONFIG = 4 << 20


def check_config(path: Path, trust_remote_code: bool, dequantize: bool = False) -> None:
    """A ModelError for a ``config.json`` that is missing, already quantized, or brings untrusted code.

    ``dequantize``: what is quantized is read as floats, if that can be.
    """
    raw = read_config(path)
    if not raw.get("model_type"):
        raise ModelError(f"{path / 'config.json'} has no model_type; give a checkpoint that transformers loads")
    if (quantized := raw.get("quantization_config")) and not dequantize:
        method = quantized.get("quant_method", "unknown") if isinstance(quantized, dict) else quantized
        raise ModelError(
            f"{path} is already quantized ({method}); compress the float checkpoint that it was made from, or, where "
            "there is none, its integers as floats by --dequantize"
        )
    if raw.get("auto_map") and not trust_remote_code:
        raise ModelError(
            f"{path} brings its own code (auto_map in config.json); pass --trust-remote-code to accept that"
        )


def read_config(path: Path) -> dict[str, Any]:
    """The content of a directory's ``config.json``; a ModelError where there is none, or it isn't safe to read."""
    file = path / "config.json"
    if not os.path.lexists(file):
        if adapter := AdapterConfig.read(path):
            raise adapter.refuse_alone()
        raise ModelError(explain(path))
    raw = read_json(file, _LARGEST_CONFIG)
    if not isinstance(raw, dict):
        raise ModelError(f"{file} is no config: a JSON object is needed")
    classes = raw.get("architectures") or [None]
    if not isinstance(classes, list) or not all(isinstance(name, str | None) for name in classes):
        raise ModelError(f"{file}: architectures is {classes!r}; a list of class names is needed")
    check_bounds(file, raw)
    _check_attention(path, raw)
    return raw


def _check_attention(path: Path, raw: object) -> None:
    """Refuse attention by another name than transformers' own: it fetches such code from the hub, and runs it."""
    if isinstance(raw, dict):
        for key, value in raw.items():
            names = value.values() if isinstance(value, dict) else [value]
            if key in _ATTENTION and (foreign := next((name for name in names if name not in _OWN_ATTENTION), None)):
                file = path / "config.json"
                raise ModelError(f"{file} names attention code from elsewhere ({key}: {foreign}); remove {key} from it")
            _check_attention(path, value)
