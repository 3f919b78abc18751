"""A config that is broken, unsupported, quantized or brings code is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compress.checkpoint.model import Model
from compress.errors import ModelError
from compress.modeling.config_architecture import any_architecture
from compress.modeling.kinds import CLASSIFIER
from tests.support.checkpoints import build, configure


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    build("LlamaForCausalLM").save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


@pytest.mark.parametrize("content", ["{", "[]", '{"model_type": "llama", "hidden_size": "wide"}'])
def test_a_broken_config(llama: Path, content: str) -> None:
    (llama / "config.json").write_text(content)
    with pytest.raises(ModelError, match=r"config\.json"):
        Model.open(str(llama))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"model_type": "wav2vec2", "architectures": ["Wav2Vec2ForCTC"]},
            "Wav2Vec2ForCTC is not supported: transformers has no decoder, .* for the model_type wav2vec2",
        ),
        (
            {"architectures": ["LlamaForQuestionAnswering"]},
            "LlamaForQuestionAnswering is not supported; of this model_type LlamaForCausalLM is",
        ),
    ],
)
def test_an_unsupported_architecture_is_refused(llama: Path, changes: dict[str, Any], reason: str) -> None:
    configure(llama, **changes)
    with pytest.raises(ModelError, match=reason):
        Model.open(str(llama))


def test_a_quantized_checkpoint_is_refused(llama: Path) -> None:
    configure(llama, quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(ModelError, match=r"already quantized \(gptq\)"):
        Model.open(str(llama))


@pytest.mark.parametrize(
    "changes",
    [
        {"attn_implementation": "someone/kernel"},
        {"_attn_implementation": "flash_attention_2"},
        {"attn_implementation": {"": "someone/kernel"}},
        {"nested": {"_attn_implementation": "someone/kernel@main:attention"}},
    ],
)
def test_attention_that_is_code_from_a_hub_is_refused(llama: Path, changes: dict[str, Any]) -> None:
    configure(llama, **changes)
    with pytest.raises(ModelError, match="config.json names attention code from elsewhere .*; remove _?attn"):
        Model.open(str(llama))
    with pytest.raises(ModelError, match="names attention code from elsewhere"):
        any_architecture(llama)


def test_attention_of_transformers_own_passes(llama: Path) -> None:
    configure(llama, attn_implementation="sdpa")
    assert Model.open(str(llama)).class_name == "LlamaForCausalLM"


def test_code_in_a_checkpoint_is_refused_unless_accepted(llama: Path) -> None:
    configure(llama, auto_map={"AutoModelForCausalLM": "modeling.Mine"})
    (llama / "modeling.py").write_text("raise RuntimeError('this ran')\n")
    with pytest.raises(ModelError, match="--trust-remote-code"):
        Model.open(str(llama))
    assert Model.open(str(llama), trust_remote_code=True).class_name == "LlamaForCausalLM"


def test_outputs_are_handed_over_as_this_program_takes_them(llama: Path) -> None:
    configure(llama, return_dict=False, output_hidden_states=True)
    assert Model.open(str(llama)).config.return_dict


@pytest.mark.parametrize("setting", [{"text_config": {"vocab_size": 5}}, {"decoder": "wordpiece", "text_config": {}}])
def test_settings_that_are_called_as_a_part_of_a_config_are_told_in_a_line(
    llama: Path, setting: dict[str, Any]
) -> None:
    configure(llama, **setting)
    with pytest.raises(ModelError, match=r"config\.json"):
        Model.open(str(llama))


def test_a_decoder_that_classifies_texts_needs_a_token_behind_them(tmp_path: Path) -> None:
    build("LlamaForSequenceClassification", pad_token_id=0).save_pretrained(tmp_path)
    assert Model.open(tmp_path).kind is CLASSIFIER
    configure(tmp_path, pad_token_id=None)
    with pytest.raises(ModelError, match="a LlamaForSequenceClassification needs a pad_token_id"):
        Model.open(tmp_path)
