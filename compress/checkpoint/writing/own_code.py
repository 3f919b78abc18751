"""Code that a checkpoint brings (``auto_map``): a variant has none where transformers has the classes, else all of it.

A variant whose settings name files that it lacks fails to load with ``trust_remote_code``, and nobody needs them where
the classes are transformers' own. Code is copied, never run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from compress.checkpoint.base import Checkpoint
from compress.checkpoint.files.folder import GENERATION, SETTINGS, companions
from compress.system.regular_files import copy_file, read_json, refusal

KEY = "auto_map"
"""The setting that names classes in a checkpoint's own files."""
_HUB = "--"
"""What a reference to a repository on the hub has before its module."""
_CLASSES = ("tokenizer_class", "image_processor_type", "feature_extractor_type", "processor_class")
"""Settings that name a class, which transformers has or has not."""


def copy_companions(model: Checkpoint, out: Path) -> str | None:
    """Copy what goes along with a checkpoint's weights into ``out``; a notice where needed code stays behind.

    What stays behind, or isn't there, is not named by the variant's settings; a repository on the hub may be.
    """
    notice, needs_code = None, False
    for file in companions(model.path):
        settings = read_json(file) if file.name in {*SETTINGS, GENERATION} else None
        if not isinstance(settings, dict) or KEY not in settings:
            copy_file(file, out / file.name)
            continue
        code = [] if file.name == GENERATION or _is_native(settings) else sorted(set(_references(settings[KEY])))
        local = [model.path / f"{name.rpartition('.')[0]}.py" for name in code if _HUB not in name]
        missing = [source.name for source in local if refusal(source) is not None]
        if code and not missing and (model.brings_code or not local):
            copy_file(file, out / file.name)
            needs_code = needs_code or bool(local)
            continue
        rest = {key: value for key, value in settings.items() if key != KEY}
        (out / file.name).write_text(json.dumps(rest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        if code and model.brings_code:
            notice = f"{file.name} names a class in {missing[0]}, which isn't in {model.path}: left out"
        elif code:
            notice = f"{file.name} names a class of the checkpoint's own; --trust-remote-code lets its code go along"
    for file in sorted(model.path.glob("*.py")) if needs_code else ():
        if refusal(file) is None:
            copy_file(file, out / file.name)
    return notice


def _references(value: object) -> Iterator[str]:
    """The classes that a setting names: ``module.Class``, or ``repository--module.Class`` on the hub."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _references(inner)


def _is_native(settings: Mapping[str, object]) -> bool:
    """Whether transformers itself has the classes that settings name."""
    import transformers  # here: it takes a second to import

    named = [name for key in _CLASSES if isinstance(name := settings.get(key), str)]
    return all(hasattr(transformers, name) or hasattr(transformers, f"{name}Fast") for name in named)
