"""License of a checkpoint, from its model card, its config or its license file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from compress.checkpoint.files.folder import LICENSES
from compress.errors import ModelError
from compress.escape import markdown_code, markdown_text
from compress.system.regular_files import open_file, read_json, refusal

_TITLES = {
    "apache-2.0": r"Apache License\s+Version 2\.0",
    "mit": r"\A\s*(?:The )?MIT License|Permission is hereby granted, free of charge, to any person obtaining a copy",
    "gpl-3.0": r"GNU GENERAL PUBLIC LICENSE\s+Version 3",
}
"""Beginnings of licenses' texts, by the hub's identifiers."""
_BEGINNING = 2000
_LARGEST_CARD = 16 << 20
_ADDRESS = re.compile(r"https://[\w./#?=%-]+")
"""A link's address without anything that Markdown or HTML reads another way."""


@dataclass(frozen=True)
class License:
    """``fields`` are those of a model card's front matter; ``file`` is the license's text, beside the weights."""

    fields: dict[str, str]
    file: str | None

    def __str__(self) -> str:
        """A sentence of Markdown."""
        name = self.fields.get("license_name") or self.fields.get("license")
        link = self.fields.get("license_link", "")
        where = f"its text is in {markdown_code(self.file)}" if self.file else _link(link)
        name = name and markdown_text(name)
        if name is None and not where:
            return "The base model doesn't name its license; whatever it is holds for this variant too."
        return f"The base model's license holds for this variant too: {', '.join(filter(None, [name, where]))}."


def _link(text: str) -> str:
    return text if _ADDRESS.fullmatch(text) else markdown_text(text)


def find_license(path: Path) -> License:
    """The license of the checkpoint in a directory, from its README's front matter, its config, or its license file."""
    named = (match for pattern in LICENSES[:2] for match in sorted(path.glob(pattern)))
    file = next((match for match in named if refusal(match) is None), None)
    facts = _front_matter(path / "README.md") or _config(path / "config.json")
    fields = {key: str(facts[key]) for key in ("license", "license_name", "license_link") if facts.get(key)}
    if not fields and file is not None:
        with open_file(file) as stream:
            beginning = stream.read(_BEGINNING).decode(errors="replace")
        titles = (name for name, title in _TITLES.items() if re.search(title, beginning))
        fields = {"license": next(titles, "other")}
    return License(fields, file.name if file is not None else None)


def _front_matter(file: Path) -> dict[str, object]:
    """The license fields of a README; none where it can't be read, since a card is no reason to fail."""
    from huggingface_hub.repocard import metadata_load  # here: it is slow to import
    from yaml import YAMLError

    if refusal(file) is not None or file.stat().st_size > _LARGEST_CARD:
        return {}
    try:
        facts = metadata_load(file) or {}
    except (OSError, ValueError, YAMLError, RecursionError):
        return {}
    return facts if isinstance(facts.get("license"), str) else {}


def _config(file: Path) -> dict[str, object]:
    try:
        facts = read_json(file)
    except ModelError:
        return {}
    return facts if isinstance(facts, dict) and isinstance(facts.get("license"), str) else {}
