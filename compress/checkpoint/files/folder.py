"""Folder of a checkpoint: the files that go along with its weights, checked before the work."""

from __future__ import annotations

import os
from pathlib import Path

from compress.errors import ModelError
from compress.modeling.quiet import first_line, quiet_transformers
from compress.progress import Progress
from compress.system.regular_files import copy_file, read_json, refusal

LICENSES = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")
"""Files that a license may ask to be passed on."""
_PATTERNS = ("*.json", "*.txt", "*.model", "*.spm", "*.jinja", *LICENSES)
_NOT_ALONG = {
    "adapter_config.json",
    "artifact.json",
    "compress.json",
    "config.json",
    "genai_config.json",
    "quantize_config.json",
}
"""Files that a variant has of its own, or a format; and an adapter's, by which loaders would look for its weights."""
GENERATION = "generation_config.json"
SETTINGS = {
    "added_tokens.json",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
}
"""Files of settings that transformers opens by their names."""
_VOCABULARIES = {
    "merges.txt",
    "source.spm",
    "spiece.model",
    "target.spm",
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
}
_INPUT = {*SETTINGS, *_VOCABULARIES}
_READ = {*_INPUT, GENERATION, "chat_template.jinja"}
"""Files that transformers opens by their names, and that a model isn't itself without."""
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
_LARGEST = 1 << 30
"""Bytes of all files that go along: vocabularies are megabytes, and who puts a disk in there means no good."""
LARGEST_READ = 256 << 20
"""Bytes of one that transformers or a runtime reads into memory, which takes several times as many."""


def companions(folder: Path) -> list[Path]:
    """The files that go along with a checkpoint's weights into its variant: tokenizer, settings, licenses."""
    return [file for file in _matching(folder) if refusal(file) is None]


def copy_along(folder: Path, out: Path) -> None:
    """Copy the files that go along with a checkpoint's weights, and its card, into another directory."""
    for file in companions(folder):
        copy_file(file, out / file.name)
    if refusal(folder / "README.md") is None:
        copy_file(folder / "README.md", out / "README.md")


def input_files(folder: Path) -> list[Path]:
    """Those among them by which a text or an image becomes a model's input."""
    return [file for file in companions(folder) if file.name in _INPUT]


def licenses(folder: Path) -> list[Path]:
    """The license files among them."""
    return [file for file in companions(folder) if any(file.match(pattern) for pattern in LICENSES)]


def check_folder(folder: Path, progress: Progress) -> None:
    """Raise a ModelError for files of a checkpoint that can't be used; what is left out is a notice.

    A link that leaves the folder, a pipe, a directory in a file's place: a model needs its tokenizer and its settings,
    and what else is so can stay behind.
    """
    files = _matching(folder)
    refused = {file: reason for file in files if (reason := refusal(file)) is not None}
    for file, reason in refused.items():
        if file.name in _READ:
            raise ModelError(f"{file} {reason}; put the file itself there, or remove it")
    if refused:
        progress.notice("left out: " + ", ".join(f"{file.name} ({reason})" for file, reason in refused.items()))
    check_sizes(folder)
    usable = set(files) - refused.keys()
    for name in SETTINGS:
        if folder / name in usable:
            read_json(folder / name)
    if folder / GENERATION in usable:
        _check_generation(folder)


def check_sizes(folder: Path) -> None:
    """Raise a ModelError for files beside a checkpoint's weights that are larger than any model's."""
    sizes = {file: file.stat().st_size for file in companions(folder)}
    if sum(sizes.values()) > _LARGEST:
        largest = max(sizes, key=sizes.__getitem__)
        raise ModelError(
            f"{folder} has {sum(sizes.values()) / 1e9:.1f} GB of files beside its weights, and {_LARGEST / 1e9:.1f} GB "
            f"are copied at most; remove what the model doesn't need, the largest is {largest.name}"
        )
    if large := next((file for file, size in sizes.items() if size > LARGEST_READ and file.name in _READ), None):
        raise ModelError(
            f"{large} is {sizes[large] / 1e6:,.0f} MB large, and {LARGEST_READ / 1e6:.0f} MB are read of such a file; "
            "put the right one there, or remove it"
        )


def _matching(folder: Path) -> list[Path]:
    """What is called as a file that goes along, without what every variant writes itself."""
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise ModelError(f"{folder} can't be read ({error.strerror})") from error
    files = sorted(folder / name for name in names if name not in _NOT_ALONG)
    matching = [file for file in files if any(file.match(pattern) for pattern in _PATTERNS)]
    return [file for file in matching if not file.name.endswith(".index.json")]


def _check_generation(folder: Path) -> None:
    """Raise a ModelError for a ``generation_config.json`` that transformers can't use."""
    from transformers import GenerationConfig  # here: it takes a second to import

    file = folder / GENERATION
    raw = read_json(file)
    try:
        with quiet_transformers():
            config = GenerationConfig.from_dict(raw)
        reason = next((f"{key} is {raw[key]!r}" for key in _TOKENS if not _are_tokens(getattr(config, key))), None)
    except Exception as error:  # transformers has no common class for what it can be wrong in
        reason = first_line(error)
    if reason is not None:
        raise ModelError(f"{file} is no generation config ({reason}); mend it, or remove it")


def _are_tokens(ids: object) -> bool:
    """Whether a setting is a token's id, a list of them, or open."""
    return ids is None or all(type(token) is int for token in (ids if isinstance(ids, list) else [ids]))
