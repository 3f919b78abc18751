"""Code that a checkpoint brings (``auto_map``): a variant has none where transformers has the classes, else all of it.

A variant whose settings name files that it lacks fails to load with ``trust_remote_code``, and nobody needs them where
the classes are transformers' own. Code is copied, never run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from compress.checkpoint.base import Checkpoint
from compress.checkpoint.files.folder import GENERATION, SETTINGS, companions
from compress.system.regular_files import copy_file, read_json, refusal

KEY = "auto_map"
"""The setting that names classes in a checkpoint's own files."""
_CLASSES = ("tokenizer_class", "image_processor_type", "feature_extractor_type", "processor_class")
"""Settings that name a class, which transformers has or has not."""


def copy_companions(model: Checkpoint, out: Path) -> str | None:
    """Copy what goes along with a checkpoint's weights into ``out``; a notice where needed code stays behind."""
    needed = []
    for file in companions(model.path):
        settings = read_json(file) if file.name in {*SETTINGS, GENERATION} else None
        if not isinstance(settings, dict) or KEY not in settings:
            copy_file(file, out / file.name)
        elif file.name == GENERATION or _is_native(settings):
            rest = {key: value for key, value in settings.items() if key != KEY}
            (out / file.name).write_text(json.dumps(rest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        else:
            copy_file(file, out / file.name)
            needed.append(file.name)
    if not needed:
        return None
    if not model.brings_code:
        return f"{needed[0]} names a class of the checkpoint's own; --trust-remote-code lets its code go along"
    for file in sorted(model.path.glob("*.py")):
        if refusal(file) is None:
            copy_file(file, out / file.name)
    return None


def _is_native(settings: Mapping[str, object]) -> bool:
    """Whether transformers itself has the classes that settings name."""
    import transformers  # here: it takes a second to import

    named = [name for key in _CLASSES if isinstance(name := settings.get(key), str)]
    return all(hasattr(transformers, name) or hasattr(transformers, f"{name}Fast") for name in named)
