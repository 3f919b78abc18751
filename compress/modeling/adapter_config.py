"""Config of an adapter (``adapter_config.json``): its type, and the model that it is for."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from compress.errors import ModelError
from compress.system.regular_files import read_json

FILE = "adapter_config.json"
_LORA = "LORA"
_UNSAFE = "megatron_config"
"""The setting by which peft imports a module that the file names."""
_UNMERGED = {
    "alora_invocation_tokens": "works behind certain tokens alone",
    "layer_replication": "makes more layers than its model has",
}
"""Settings with which no model of the same shape is what a LoRA makes of its model."""


@dataclass(frozen=True)
class AdapterConfig:
    """Type of an adapter as peft has it (``LORA``), and the model that it was trained on, as its author called it.

    ``options`` are all that the file sets to something.
    """

    path: Path
    kind: str
    base: str
    options: frozenset[str] = frozenset()

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read the config in a directory, None where there is none; a ModelError for one that is no config."""
        file = path / FILE
        if not os.path.lexists(file):
            return None
        raw = read_json(file)
        if not isinstance(raw, dict) or not isinstance(raw.get("peft_type"), str):
            raise ModelError(f"{file} is no adapter's config: it has no peft_type; mend it, or remove it")
        if raw.get(_UNSAFE):
            raise ModelError(f"{file} has a {_UNSAFE}, by which peft imports what it names; remove that")
        options = frozenset(str(key) for key, value in raw.items() if value)
        return cls(path, raw["peft_type"], str(raw.get("base_model_name_or_path") or "an unnamed model"), options)

    @property
    def is_lora(self) -> bool:
        """Whether it is a LoRA, with whichever options."""
        return self.kind == _LORA

    @property
    def title(self) -> str:
        """What a message calls it."""
        return "LoRA adapter" if self.is_lora else f"{self.kind} adapter"

    def check_mergeable(self) -> None:
        """Raise a ModelError for an adapter that isn't merged into its model."""
        if not self.is_lora:
            raise ModelError(
                f"{self.path} has a {self.title}, and LoRA's alone are merged here; merge it with peft's "
                f"merge_and_unload, or remove {FILE} to compress the model without it"
            )
        if option := next((option for option in _UNMERGED if option in self.options), None):
            raise ModelError(
                f"{self.path} has a {self.title} that {_UNMERGED[option]} ({option}), which no merge_and_unload "
                f"brings into the model's weights; remove {FILE} to compress the model without it"
            )

    def check_options(self, supported: Collection[str], version: str) -> None:
        """Raise a ModelError for a setting that isn't among those of the installed peft, which would ignore it."""
        if unknown := sorted(self.options - set(supported)):
            raise ModelError(
                f"{self.path / FILE} sets {unknown[0]}, which peft {version} doesn't know; update peft, or merge the "
                "adapter with the peft that made it (merge_and_unload)"
            )

    def refuse_alone(self) -> ModelError:
        """The error for a folder that holds no model beside it."""
        return ModelError(
            f"{self.path} holds a {self.title} alone, of {self.base}; merge it into that model first (peft's "
            "PeftModel.from_pretrained(...).merge_and_unload()) and save_pretrained the result"
        )
