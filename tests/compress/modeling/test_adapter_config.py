"""An adapter's config tells its type and the model that it is for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from compress.errors import ModelError
from compress.modeling.adapter_config import AdapterConfig


def test_type_and_base_are_read(tmp_path: Path) -> None:
    assert AdapterConfig.read(tmp_path) is None
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({"peft_type": "IA3", "base_model_name_or_path": "some/base"})
    )
    config = AdapterConfig.read(tmp_path)
    assert config is not None
    assert (config.kind, config.base, config.is_lora, config.title) == ("IA3", "some/base", False, "IA3 adapter")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "is no adapter's config: it has no peft_type"),
        ('{"r": 4}', "is no adapter's config: it has no peft_type"),
        ('{"peft_type": 5}', "is no adapter's config: it has no peft_type"),
        ("{", "can't be read"),
        (
            '{"peft_type": "LORA", "megatron_config": {"a": 1}, "megatron_core": "os"}',
            "has a megatron_config, by which peft imports what it names; remove that",
        ),
    ],
)
def test_what_is_no_config_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(ModelError, match=re.escape(f"{tmp_path / 'adapter_config.json'} {reason}")):
        AdapterConfig.read(tmp_path)
