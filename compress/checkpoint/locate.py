"""Find a model's directory: a local one, a demo's, or a checkpoint's from the hub."""

from __future__ import annotations

import os
import re
from pathlib import Path

from compress.checkpoint.demo.model import cache_directory, check_demo, demo_model
from compress.checkpoint.files.folder import check_sizes
from compress.checkpoint.files.manifest import Manifest
from compress.checkpoint.files.shards import check_headers
from compress.checkpoint.files.sums import SUMS
from compress.checkpoint.sentence.listing import module_folders, transformer_folder
from compress.errors import ModelError
from compress.modeling.config_file import check_config, read_config
from compress.modeling.no_checkpoint import explain
from compress.modeling.quiet import first_line
from compress.progress import Progress

DEMO = "demo:"
"""Prefix of a demo's name."""

_HUB_ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
_FILES = ["*.json", "*.txt", "*.model", "*.jinja", "*.safetensors"]
_SETTINGS = ["config.json", "*/config.json", "modules.json", "config_sentence_transformers.json"]
_UNTRUSTED_FILES = ["*.bin", "*.py"]
_LEFT_OUT = ["*/*.safetensors", "*/*.bin", "consolidated*"]
"""Weights that many repositories have once more, in another format or precision."""
_PATIENCE = 5.0
"""Seconds that the hub may take to say what a file is."""


def locate(source: str, trust_remote_code: bool, progress: Progress) -> Path:
    """The directory of a model as its user names it; demos are made and hub checkpoints fetched where need be.

    Raises ModelError for a source that is none of these, UsageError for an unknown demo and MissingComponentError for
    one whose package is not installed.
    """
    if source.startswith(DEMO):
        return demo_model(source.removeprefix(DEMO), progress)
    return _local(source) or _fetch(source, _FILES + (_UNTRUSTED_FILES if trust_remote_code else []))


def check_source(source: str, trust_remote_code: bool = False, dequantize: bool = False) -> None:
    """Refuse, as opening does, a source that is no supported model; of a hub checkpoint only settings are fetched."""
    if source.startswith(DEMO):
        check_demo(source.removeprefix(DEMO))
        return
    local = _local(source)
    path = transformer_folder(local or _fetch(source, _SETTINGS))
    check_config(path, trust_remote_code, dequantize)
    if local is not None:
        check_headers(path)
        check_sizes(path)


def check_variant(path: Path) -> None:
    """Refuse, as opening does, a directory that is no variant or is beyond all bounds; nothing waits for torch."""
    Manifest.read(path)
    read_config(path)
    check_headers(path)


def locate_offline(source: str) -> Path | None:
    """The directory of a model where it is on this machine already; None where it would have to be made or fetched."""
    if source.startswith(DEMO):
        path = cache_directory() / source.removeprefix(DEMO)
        return path if (path / SUMS).is_file() else None
    if os.path.isdir(path := Path(os.path.expanduser(source))):
        return path
    if not _HUB_ID.fullmatch(source):
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def _local(source: str) -> Path | None:
    """The directory on this machine; None where the source is an id on the hub."""
    if not source.strip():
        raise ModelError("the model's name is empty; give a directory, an id on the hub, or demo:NAME")
    if "://" in source:
        raise ModelError(f"{source} is an address; give a directory, or the hub's id alone, like OWNER/NAME")
    path = Path(os.path.expanduser(source))
    if os.path.isdir(path):
        return path
    if os.path.exists(path):
        raise ModelError(explain(path))
    if not _HUB_ID.fullmatch(source):
        raise ModelError(f"{source}: no such directory")
    return None


def _fetch(name: str, patterns: list[str]) -> Path:
    """A snapshot of files of a hub checkpoint: from the cache where the hub is out of reach or not to be asked."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        path = Path(snapshot_download(name, allow_patterns=patterns, ignore_patterns=_LEFT_OUT, etag_timeout=_PATIENCE))
        if folders := module_folders(path):  # a sentence encoder's, which hold weights too
            inside = [f"{folder}/{pattern}" for folder in folders for pattern in patterns]
            snapshot_download(name, allow_patterns=inside, etag_timeout=_PATIENCE)
        return path
    except LocalEntryNotFoundError as error:
        raise ModelError(f"{name} is no directory here, not in the hub's cache, and the hub is out of reach") from error
    except GatedRepoError as error:
        raise ModelError(f"{name} is gated on the hub; accept its terms there, then `hf auth login`") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ModelError(f"{name} is no directory here and no public checkpoint on the hub") from error
    except (HfHubHTTPError, OSError) as error:
        raise ModelError(f"{name} can't be fetched from the hub ({first_line(error)})") from error
