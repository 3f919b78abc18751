"""Paths that are no checkpoint: what they are instead, and what to give in their place."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import NamedTuple

_CONFIGS = ("config.json", "adapter_config.json")
_MOST_ENTRIES = 1000
"""entries that are looked at"""
_LISTED = 3
_STEP = re.compile(r"checkpoint-(\d+)")
"""Name of a directory that a training saved at some step."""


class _Kind(NamedTuple):
    """A kind of file by patterns of its name, and what to give in place of one."""

    patterns: str
    noun: str
    advice: str


_SOURCE = "give the checkpoint that it was made from"
_DIFFUSERS = "model_index.json"
_FOREIGN = (
    _Kind(_DIFFUSERS, "a pipeline of diffusers", "those aren't supported"),
    _Kind("*.gguf", "a GGUF file", _SOURCE),
    _Kind("*.onnx", "an ONNX graph", _SOURCE),
    _Kind("*.engine *.plan *.tflite *.mlmodel *.pte", "a compiled model", _SOURCE),
    _Kind("*.h5 *.msgpack *.pb", "a model of TensorFlow or Flax", "give its checkpoint for PyTorch"),
)
"""What other programs load; the first that fits counts."""
_OTHERS = (
    _Kind("params.json consolidated.*", "a model in its maker's own format", "give its checkpoint for transformers"),
    _Kind(
        "*.safetensors *.bin *.pt *.pth *.ckpt",
        "a file of weights",
        "give the directory that has its config.json too",
    ),
    _Kind("*.zip *.tar *.tar.* *.tgz *.7z", "an archive", "unpack it, and give the directory in it"),
    _Kind("*.parquet *.arrow *.jsonl *.csv *.tsv", "a file of data", "data is for --calibration and --eval"),
)


def explain(path: Path) -> str:
    """Why a path is no checkpoint's directory, and what to give in its place, in one line."""
    if not os.path.isdir(path):
        return f"{path} {_file(path)}" if os.path.exists(path) else f"{path}: no such directory"
    return f"{path} is not a checkpoint: it has no config.json{_contents(path)}"


def foreign_weights(folder: Path) -> str:
    """What of other programs is in a directory, and what to give in its place, to follow an error; empty if nothing."""
    return _advice_on(_names(folder), _FOREIGN)


def folders_below(folder: Path, accepts: Callable[[Path], bool]) -> list[Path]:
    """The directories in a directory that are accepted; where there are none, those in its directories."""
    level = [folder]
    for _ in range(2):
        level = list(islice((below for above in level for below in _folders(above)), _MOST_ENTRIES))
        if accepted := list(filter(accepts, level)):
            return accepted
    return []


def advise(folders: Sequence[Path]) -> str:
    """Advice to give one of some directories: the last one of a training, or any."""
    steps = {int(match[1]): folder for folder in folders if (match := _STEP.fullmatch(folder.name))}
    if len(steps) == len(folders) > 1:
        return f"give the last of its checkpoints, {steps[max(steps)]}"
    if len(folders) == 1:
        return f"give {folders[0]}"
    more = f" and {len(folders) - _LISTED} more" if len(folders) > _LISTED else ""
    return f"give one of those in it: {', '.join(map(str, folders[:_LISTED]))}{more}"


def _file(file: Path) -> str:
    """What a file is, and what to give, to follow its name."""
    if kind := _first([file.name], _FOREIGN):
        return f"is {kind[1].noun}; {kind[1].advice}"
    if any((file.parent / name).is_file() for name in _CONFIGS):
        return f"is a file; give the directory of its checkpoint, {file.parent}"
    kind = _first([file.name], _OTHERS)
    return f"is {kind[1].noun}; {kind[1].advice}" if kind else "is a file; give the directory of its checkpoint"


def _contents(folder: Path) -> str:
    """What is in a directory without a ``config.json``, and what to give, to follow that; empty where nothing tells."""
    names = _names(folder)
    if _DIFFUSERS not in names:
        if models := folders_below(folder, lambda below: any((below / name).is_file() for name in _CONFIGS)):
            return f"; {advise(models)}"
        inside = (f"{below.name}/{name}" for below in _folders(folder) for name in _names(below))
        names += islice(inside, _MOST_ENTRIES)
    return _advice_on(names, _FOREIGN + _OTHERS)


def _advice_on(names: Iterable[str], kinds: Sequence[_Kind]) -> str:
    """What the first telling one of some files is, and what to give, to follow an error; empty where there is none."""
    first = _first(names, kinds)
    return "" if first is None else f"; {first[0]} in it is {first[1].noun}: {first[1].advice}"


def _first(names: Iterable[str], kinds: Sequence[_Kind]) -> tuple[str, _Kind] | None:
    """The name of a file of the first kind that there is, and the kind."""
    files = {name: name.rpartition("/")[2].lower() for name in names}
    for kind in kinds:
        for name, lowered in files.items():
            if any(fnmatch(lowered, pattern) for pattern in kind.patterns.split()):
                return name, kind
    return None


def _folders(folder: Path) -> list[Path]:
    """The directories in a directory, but for hidden ones, by name."""
    names = (entry.name for entry in _entries(folder) if not entry.name.startswith(".") and entry.is_dir())
    return [folder / name for name in sorted(names)]


def _names(folder: Path) -> list[str]:
    """Names of what is in a directory, in order."""
    return sorted(entry.name for entry in _entries(folder))


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """What is in a directory, as far as it is looked at; nothing where it can't be read."""
    try:
        with os.scandir(folder) as entries:
            yield from islice(entries, _MOST_ENTRIES)
    except OSError:
        return
