"""Compress Hugging Face checkpoints, export them to a runtime, and score what was gained and lost.

    from compress import Model, compress_model, export, score

    model = Model.open("demo:smollm2")
    variant = compress_model(model, "int8,fuse", "out/int8-fuse")
    export(variant, target="ort-cpu")
    card = score([variant])

Names are imported when they are first asked for: ``import compress`` alone loads neither torch nor transformers.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from compress.system.environment import NO_TELEMETRY
from compress.version import __version__ as __version__

os.environ.update(NO_TELEMETRY)  # here: every import of ours comes before onnxruntime's own

__all__ = ["Model", "Pipeline", "Variant", "compress_model", "export", "score"]

if TYPE_CHECKING:
    from compress.api.compress_model import compress_model as compress_model
    from compress.api.export import export as export
    from compress.api.score import score as score
    from compress.checkpoint.model import Model as Model
    from compress.checkpoint.variant import Variant as Variant
    from compress.pipeline.parse import Pipeline as Pipeline
else:
    _MODULES = {
        "Model": "compress.checkpoint.model",
        "Pipeline": "compress.pipeline.parse",
        "Variant": "compress.checkpoint.variant",
        "compress_model": "compress.api.compress_model",
        "score": "compress.api.score",
    }

    def __getattr__(name):
        if name == "export":  # the package is callable: its modules must stay within reach
            return import_module("compress.export")
        if name not in _MODULES:
            raise AttributeError(f"module 'compress' has no attribute {name!r}")
        globals()[name] = value = getattr(import_module(_MODULES[name]), name)
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
