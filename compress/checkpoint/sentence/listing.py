"""List of a sentence encoder's modules: ``modules.json`` of sentence-transformers, and the folders that it names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from compress.errors import ModelError
from compress.system.regular_files import read_json

MODULES = "modules.json"
FACTS = "config_sentence_transformers.json"
"""The file of what holds for all modules: prompts, the similarity."""

TRANSFORMER = "Transformer"
"""The class of the module that has a checkpoint's ``config.json`` and weights."""

Facts = Mapping[str, object]


def transformer_folder(root: Path) -> Path:
    """The folder of a checkpoint's ``config.json``: ``root``, or that of the transformer by ``modules.json``.

    Old sentence encoders keep it in ``0_Transformer``. Raises ModelError for one that begins with another module.
    """
    if (root / "config.json").is_file() or not (root / MODULES).is_file():
        return root
    rows = read_rows(root)
    if rows and rows[0]["type"].rpartition(".")[2] != TRANSFORMER:
        raise ModelError(
            f"{root / MODULES} begins with {rows[0]['type']}, which isn't supported; give a sentence encoder that "
            f"begins with a {TRANSFORMER}"
        )
    return root / rows[0]["path"] if rows else root


def is_sentence_encoder(path: Path) -> bool:
    """Whether a transformer's folder belongs to a sentence encoder."""
    return find_root(path) is not None


def module_folders(root: Path) -> list[str]:
    """The folders that a ``modules.json`` lists, but for ``root`` itself; none where there is none."""
    return [row["path"] for row in read_rows(root) if row["path"]] if (root / MODULES).is_file() else []


def find_root(path: Path) -> Path | None:
    """The folder of the ``modules.json`` that a transformer's folder belongs to; None without one.

    Other models of the same library have one too: a cross encoder's is a classifier's.
    """
    for root in (path, path.parent):
        if not (root / MODULES).is_file():
            continue
        rows = read_rows(root)
        if not rows or root / rows[0]["path"] != path:
            continue
        return None if read_facts(root).get("model_type") == "CrossEncoder" else root
    return None


def read_rows(root: Path) -> list[dict[str, str]]:
    """The rows of a ``modules.json``, each with a name, a path below ``root`` and a type."""
    file = root / MODULES
    rows: list[dict[str, str]] = read_json(file, folder=root)
    if not isinstance(rows, list):
        raise ModelError(f"{file} can't be read: a JSON list is needed")
    for row in rows:
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("name", "path", "type")):
            raise ModelError(f"{file} can't be read: every module needs a name, a path and a type")
        path = PurePosixPath(row["path"])
        if path.is_absolute() or ".." in path.parts:
            raise ModelError(f"{file} points outside its directory, to {row['path']}")
    return rows


def read_facts(root: Path) -> Facts:
    """What holds for all modules of the sentence encoder in ``root``; empty where no file says so."""
    return read_object(root / FACTS, root) if (root / FACTS).is_file() else {}


def read_object(file: Path, root: Path) -> Facts:
    """The JSON object in a file of the checkpoint in ``root``."""
    facts = read_json(file, folder=root)
    if not isinstance(facts, dict):
        raise ModelError(f"{file} can't be read: a JSON object is needed")
    return facts
