"""Write ``genai_config.json``, by which onnxruntime-genai generates from an exported decoder's directory.

Source: onnxruntime-genai's ``models/builders/base.py``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from compress.modeling.architecture import head_size, longest_input
from compress.onnx_names import LAST_TOKEN_FILE, MODEL_FILE, past_name, present_name

if TYPE_CHECKING:
    from transformers import PretrainedConfig

CONFIG = "genai_config.json"
_NAMED = ("llama", "mistral", "qwen2", "qwen3", "phi3", "gemma2", "gemma3_text")
_PLAIN = "decoder"
"""onnxruntime-genai's name for a decoder of a type that it doesn't know."""
_LONGEST = 2048
"""Tokens of text that room is made for when nobody says how many: a cache that is shared is allocated whole."""


def write_genai_config(
    model: ir.Model,
    config: PretrainedConfig,
    source: Path,
    out: Path,
    provider: str = "cpu",
    context: int | None = None,
) -> None:
    """Write ``genai_config.json`` for a decoder into ``out``; ``source`` may hold a ``generation_config.json``.

    It generates with the graph of the last token's logits, where that is there. ``context``: tokens of the longest
    text; None takes the config's.
    """
    last = out / LAST_TOKEN_FILE
    shares = any(node.op_type == "GroupQueryAttention" for node in model.graph)
    ids = _token_ids(config, source)
    context = context or longest_input(config)
    facts = {
        "model": {
            "type": config.model_type if config.model_type in _NAMED else _PLAIN,
            **ids,
            "context_length": context,
            "vocab_size": config.vocab_size,
            "decoder": _decoder(model, config, provider, LAST_TOKEN_FILE if last.is_file() else MODEL_FILE),
        },
        "search": {
            "diversity_penalty": 0.0,
            "do_sample": False,
            "early_stopping": True,
            "length_penalty": 1.0,
            "max_length": min(context, _LONGEST),
            "min_length": 0,
            "no_repeat_ngram_size": 0,
            "num_beams": 1,
            "num_return_sequences": 1,
            "past_present_share_buffer": shares,
            "repetition_penalty": 1.0,
            "temperature": 1.0,
            "top_k": 50,
            "top_p": 1.0,
        },
    }
    (out / CONFIG).write_text(json.dumps(facts, indent=2) + "\n")


def _decoder(model: ir.Model, config: PretrainedConfig, provider: str, file: str) -> dict[str, Any]:
    """The decoder's shape and the names of its graph's inputs and outputs."""
    names = [value.name for value in model.graph.inputs]
    inputs = {name: name for name in ("input_ids", "attention_mask", "position_ids") if name in names}
    heads = config.num_attention_heads
    options: list[dict[str, Any]] = [] if provider == "cpu" else [{provider: {}}]
    return {
        "session_options": {"log_id": "onnxruntime-genai", "provider_options": options},
        "filename": file,
        "head_size": head_size(config),
        "hidden_size": config.hidden_size,
        "num_attention_heads": heads,
        "num_hidden_layers": config.num_hidden_layers,
        "num_key_value_heads": getattr(config, "num_key_value_heads", None) or heads,
        "inputs": {
            **inputs,
            "past_key_names": past_name("%d", "key"),
            "past_value_names": past_name("%d", "value"),
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": present_name("%d", "key"),
            "present_value_names": present_name("%d", "value"),
        },
    }


def _token_ids(config: PretrainedConfig, source: Path) -> dict[str, int | list[int]]:
    """Special tokens' ids: the generation config's, else the architecture's, else the end of text."""
    from transformers import GenerationConfig  # here: it takes a second to import

    generation: object = (
        GenerationConfig.from_pretrained(source) if (source / "generation_config.json").exists() else None
    )
    ids: dict[str, int | list[int]] = {}
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        token = getattr(generation, key, None)
        token = getattr(config, key, None) if token is None else token
        if token is not None:
            ids[key] = token
    end = ids.get("eos_token_id", config.vocab_size - 1)
    first = end[0] if isinstance(end, list) else end
    return {"bos_token_id": first, "eos_token_id": end, "pad_token_id": first, **ids}
