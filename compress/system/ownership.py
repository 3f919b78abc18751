"""Tell a directory that this program wrote, and nobody else put anything into, from any other."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from compress.system.leftovers import is_leftover

_MANIFEST, _ARTIFACT = "compress.json", "artifact.json"
_CHANGING = frozenset({_MANIFEST, _ARTIFACT, "README.md", "SHA256SUMS"})
"""Files of a variant that its manifest doesn't list."""
_SCORES = "report.json"
"""The file that no report lacks."""
_REPORT = ("report.*",)
_EXPORTED = ("*.onnx", "*.onnx.data*", "*.gguf", "engine.plan", "*.json", "*.jinja", "*.model", "*.spm", "vocab.txt",
             "merges.txt", *_CHANGING)  # fmt: skip
_STORED = (*_EXPORTED, "*.safetensors", "*.txt", "LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")
"""Files of a variant whose manifest lists none, as those of before it did."""


def foreign_entry(directory: Path) -> str | None:
    """What is in a directory that isn't this program's: a file's path inside it, or ``""`` where nothing is its.

    None where a variant, an artifact or a report is in it and nothing else. A link is never this program's.
    """
    belongs = _rule(directory)
    if belongs is None:
        return ""
    return next((path for path, is_plain in _entries(directory) if not is_plain or not belongs(path)), None)


def _rule(directory: Path) -> Callable[[str], bool] | None:
    """What tells which paths in a directory are this program's; None where nothing says that any is."""
    names = {entry.name for entry in directory.iterdir()}
    if _MANIFEST in names:
        listed = _listed_files(directory / _MANIFEST)
        artifacts = {file.parent.name for file in directory.glob(f"*/{_ARTIFACT}")}
        return lambda path: path in listed or _is_beside(path, artifacts, () if listed else _STORED)
    if _ARTIFACT in names:
        return lambda path: _is_like(path, _EXPORTED)
    if _SCORES in names:
        return lambda path: _is_like(path, _REPORT)
    return None


def _is_beside(path: str, artifacts: Collection[str], patterns: tuple[str, ...]) -> bool:
    """Whether a path that a manifest doesn't list may be in its variant all the same."""
    folder, _, name = path.rpartition("/")
    return _is_like(name, _EXPORTED) if folder in artifacts else not folder and _is_like(name, (*_CHANGING, *patterns))


def _listed_files(manifest: Path) -> frozenset[str]:
    try:
        files = json.loads(manifest.read_bytes())["files"]
        return frozenset(files) if isinstance(files, dict) else frozenset()
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return frozenset()


def _entries(directory: Path, prefix: str = "") -> Iterator[tuple[str, bool]]:
    """Paths of what is in a directory and its folders, and whether each is a plain file; leftovers don't count."""
    for entry in sorted(directory.iterdir()):
        if is_leftover(entry.name):
            continue
        if entry.is_dir() and not entry.is_symlink():
            yield from _entries(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry.is_file() and not entry.is_symlink()


def _is_like(path: str, patterns: Iterable[str]) -> bool:
    """Whether a path is a name, of no folder, that one of the patterns matches."""
    return "/" not in path and any(fnmatch(path, pattern) for pattern in patterns)
