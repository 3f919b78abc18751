"""Floats of a checkpoint that is quantized already, for models that are released in no other form.

They lie in the cache and are made once; the checkpoint itself stays as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from compress.checkpoint.demo.model import cache_directory
from compress.checkpoint.files.folder import companions, copy_along
from compress.checkpoint.files.hashes import sha256
from compress.checkpoint.files.shard_writer import ShardWriter
from compress.checkpoint.files.shards import Shards, find_shards
from compress.checkpoint.files.sums import SUMS
from compress.errors import ModelError
from compress.formats.quantized_source import QuantizedSource, quantized_source
from compress.modeling.adapter_config import AdapterConfig
from compress.modeling.config_file import read_config
from compress.modeling.quiet import first_line
from compress.progress import Progress
from compress.system.staging import staged

CONFIG = "quantization_config"
_VERSION = "1"
"""Part of the cache's keys: of what is read by other rules than before"""
_SHARD_BYTES = 2 << 30
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_CACHE_SCALES = (".k_scale", ".v_scale", ".q_scale")
"""Ends of the names of scales for a cache in 8 bits, which floats have none of."""


def quantized_by(path: Path) -> str | None:
    """The method that quantized the checkpoint in a directory; None where its weights are floats."""
    config = read_config(path).get(CONFIG)
    return str(config.get("quant_method", "unknown")) if isinstance(config, dict) else None


def dequantized(path: Path, trust_pickle: bool, progress: Progress) -> Path:
    """The directory of a checkpoint's floats, in the type that its config names, made on first use.

    Raises ModelError for a method that isn't read, weights that don't fit each other, or an adapter beside them.
    """
    if AdapterConfig.read(path) is not None:
        raise ModelError(f"{path} is quantized and has an adapter beside it; merge that first, with peft's")
    raw = read_config(path)
    source, shards = quantized_source(raw[CONFIG]), find_shards(path, trust_pickle, progress)
    parts = [
        _VERSION,
        metadata.version("compressed-tensors"),
        shards.digest,
        sha256(path / "config.json"),
        *(sha256(file) for file in companions(path)),
    ]
    out = cache_directory() / "dequantized" / hashlib.sha256(" ".join(parts).encode()).hexdigest()[:32]
    if not (out / SUMS).is_file():
        progress.notice(f"{path} is read as floats, which are written to {out} (once)")
        with staged(out, overwrite=True, marker=SUMS) as stage:
            _write(path, raw, source, shards, stage, progress)
    return out


def _write(
    path: Path, raw: Mapping[str, Any], source: QuantizedSource, shards: Shards, out: Path, progress: Progress
) -> None:
    """Write the floats, the config without its settings of integers, and what goes along."""
    settings = {key: value for key, value in raw.items() if key != CONFIG}
    dtype = _DTYPES.get(str(raw.get("dtype") or raw.get("torch_dtype")), torch.float32)
    writer = ShardWriter(out, _SHARD_BYTES, shards.raw)
    modules = source.modules(shards.where)
    parts = {name for names in modules.values() for name in names}
    for name in shards.where:
        if name not in parts and not name.endswith(_CACHE_SCALES):
            writer.put(name, shards.raw(name))
    for module, names in progress.track(list(modules.items()), "dequantizing", unit="matrix"):
        writer.put(f"{module}.weight", _floats(source, shards, module, names).to(dtype).contiguous())
    (out / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
    copy_along(path, out)
    writer.finish()  # last, since it makes the file by which the directory is known to be whole


def _floats(source: QuantizedSource, shards: Shards, module: str, names: tuple[str, ...]) -> Tensor:
    tensors = {name.removeprefix(f"{module}."): shards.raw(name) for name in names}
    try:
        return source.dequantize(module, tensors)
    except ModelError as error:
        raise ModelError(f"{shards.where[names[0]]}: {error}") from error
    except Exception as error:  # whatever shapes that don't fit each other lead to, here and in the library
        raise ModelError(
            f"{module} in {shards.where[names[0]]} can't be read as {source.method} ({first_line(error)}); the "
            "checkpoint is damaged, or of a layout that isn't known here"
        ) from error
