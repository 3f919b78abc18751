"""A module without numbers runs, or fails as one with numbers does; where its code looks at numbers nothing is told."""

from __future__ import annotations

import pytest
import torch
import transformers

from compress.modeling.dry_run import run_dry
from compress.modeling.families import family_of
from compress.modeling.kinds import DECODER
from compress.modeling.transformers_private import on_meta
from tests.support.checkpoints import SIZES
from tests.whole.test_families import FAMILIES as TINY

MODEL_TYPES = sorted({getattr(transformers, name).config_class.model_type for name, _ in TINY.values()})


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_every_family_runs_as_its_default_is(model_type: str) -> None:
    family = family_of(model_type)
    assert family is not None
    cls = getattr(transformers, family.cls)
    with on_meta():
        module = cls(cls.config_class())
    assert run_dry(module, family.kind).failure is None


def test_layers_that_are_alike_are_run_once() -> None:
    config = transformers.Gemma2Config(**SIZES | {"num_hidden_layers": 40}, num_key_value_heads=2, head_dim=8)
    with on_meta():
        module = transformers.Gemma2ForCausalLM(config)
    calls: list[str] = []
    for layer in module.model.layers:
        layer.register_forward_hook(lambda layer, *_: calls.append(layer.self_attn.layer_type))
    assert run_dry(module, DECODER).failure is None
    assert calls == 2 * ["sliding_attention", "full_attention"]


@pytest.mark.parametrize(
    ("model_type", "settings"),
    [
        ("llama", {"num_key_value_heads": 3}),
        ("gemma2", {"sliding_window": None}),
        ("phi3", {"num_key_value_heads": 3, "pad_token_id": 0}),
        ("mistral", {"num_key_value_heads": 2, "sliding_window": 0}),
        ("qwen3_moe", {"num_key_value_heads": 3, "head_dim": 8}),
    ],
)
def test_what_fails_with_numbers_fails_without(model_type: str, settings: dict[str, object]) -> None:
    family = family_of(model_type)
    assert family is not None
    cls = getattr(transformers, family.cls)
    config = cls.config_class(**SIZES, **settings)
    with pytest.raises((RuntimeError, TypeError)), torch.inference_mode():
        cls(config).eval().generate(torch.ones(1, 5, dtype=torch.long), max_new_tokens=2)
    with on_meta():
        module = cls(config)
    reason = run_dry(module, family.kind).failure
    assert reason is not None and reason.startswith(("RuntimeError: ", "TypeError: "))
    assert "\n" not in reason


@pytest.mark.parametrize(
    ("model_type", "settings", "name"),
    [
        ("bert", {"type_vocab_size": 0}, "embeddings.token_type_embeddings.weight"),
        ("llama", {"intermediate_size": 0}, "model.layers.0.mlp.gate_proj.weight"),
    ],
)
def test_a_tensor_without_numbers_is_none_to_run_with(model_type: str, settings: dict[str, int], name: str) -> None:
    family = family_of(model_type)
    assert family is not None
    cls = getattr(transformers, family.cls)
    with on_meta():
        module = cls(cls.config_class(**SIZES | settings))
    assert run_dry(module, family.kind).failure == f"{name} is without any number"


@pytest.mark.parametrize(
    ("model_type", "outputs"),
    [
        ("llama", {"model.layers": 0}),
        ("mpt", {"transformer.blocks": 2}),
        ("t5", {"encoder.block": 3, "decoder.block": 3}),
    ],
)
def test_what_layers_return_is_counted(model_type: str, outputs: dict[str, int]) -> None:
    family = family_of(model_type)
    assert family is not None
    cls = getattr(transformers, family.cls)
    with on_meta():
        module = cls(cls.config_class())
    assert run_dry(module, family.kind).outputs == outputs
