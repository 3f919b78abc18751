"""Config of an adapter (``adapter_config.json``): its type, and the model that it is for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from compress.errors import ModelError
from compress.system.regular_files import read_json

FILE = "adapter_config.json"
_LORA = "LORA"
_UNSAFE = "megatron_config"
"""The setting by which peft imports a module that the file names."""


@dataclass(frozen=True)
class AdapterConfig:
    """Type of an adapter as peft has it (``LORA``), and the model that it was trained on, as its author called it."""

    path: Path
    kind: str
    base: str

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
        return cls(path, raw["peft_type"], str(raw.get("base_model_name_or_path") or "an unnamed model"))

    @property
    def is_lora(self) -> bool:
        """Whether it is a LoRA, with whichever options."""
        return self.kind == _LORA

    @property
    def title(self) -> str:
        """What a message calls it."""
        return "LoRA adapter" if self.is_lora else f"{self.kind} adapter"

    def refuse_alone(self) -> ModelError:
        """The error for a folder that holds no model beside it."""
        return ModelError(
            f"{self.path} holds a {self.title} alone, of {self.base}; merge it into that model first (peft's "
            "PeftModel.from_pretrained(...).merge_and_unload()) and save_pretrained the result"
        )
