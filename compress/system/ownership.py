"""Tell a directory that this program wrote, and nobody else put anything into, from any other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from compress.errors import ModelError
from compress.system.leftovers import is_leftover
from compress.system.regular_files import read_json

_MANIFEST, _ARTIFACT = "compress.json", "artifact.json"
_CHANGING = frozenset({_MANIFEST, _ARTIFACT, "README.md", "SHA256SUMS"})
"""Files of a variant that its manifest doesn't list."""
_SCORES, _PAGE = "report.json", "report.md"
"""The file that no report lacks, and the one that people read."""
_KEYS = {
    _MANIFEST: {"files", "weights"},
    _ARTIFACT: {"stored_bytes", "read_bytes"},
    _SCORES: {"bandwidth", "cards"},
}
"""What each of these has that another program's file of the same name hasn't; a report is one of runs, or of one."""
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


def foreign_report(directory: Path) -> str | None:
    """Name of a file in a directory that a report would replace though it isn't this program's; None where none is.

    A page (``report.md``) may be all that is left of a report. What is no file is never this program's.
    """
    files = [file for pattern in _REPORT for file in directory.glob(pattern)]
    names = {file.name for file in files}
    if other := min((file.name for file in files if not file.is_file()), default=None):
        return other
    if _SCORES in names:
        return None if _is_own(directory / _SCORES) else _SCORES
    return min(names - {_PAGE}, default=None)


def _rule(directory: Path) -> Callable[[str], bool] | None:
    """What tells which paths in a directory are this program's; None where nothing says that any is."""
    if _is_own(directory / _MANIFEST):
        listed = _listed_files(directory / _MANIFEST)
        artifacts = {file.parent.name for file in directory.glob(f"*/{_ARTIFACT}")}
        return lambda path: path in listed or _is_beside(path, artifacts, () if listed else _STORED)
    if _is_own(directory / _ARTIFACT):
        return lambda path: _is_like(path, _EXPORTED)
    if _is_own(directory / _SCORES):
        return lambda path: _is_like(path, _REPORT)
    return None


def _is_own(file: Path) -> bool:
    """Whether a file is there and may be this program's: what is JSON of another kind, as of another program, isn't."""
    if not file.exists():
        return False
    try:
        content = read_json(file)
    except ModelError:
        return True
    return not content or (isinstance(content, dict) and not _KEYS[file.name].isdisjoint(content))


def _is_beside(path: str, artifacts: Collection[str], patterns: tuple[str, ...]) -> bool:
    """Whether a path that a manifest doesn't list may be in its variant all the same."""
    folder, _, name = path.rpartition("/")
    return _is_like(name, _EXPORTED) if folder in artifacts else not folder and _is_like(name, (*_CHANGING, *patterns))


def _listed_files(manifest: Path) -> frozenset[str]:
    try:
        files = read_json(manifest)["files"]
        return frozenset(files) if isinstance(files, dict) else frozenset()
    except (ModelError, LookupError, TypeError):
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
