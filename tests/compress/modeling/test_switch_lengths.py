"""Lengths at which models do something else, by their configs."""

from __future__ import annotations

import pytest
import transformers

from compress.modeling.switch_lengths import switch_lengths

DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
LONG = {
    "rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 4096,
    "short_factor": [1.0] * 48, "long_factor": [2.0] * 48,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "original_max_position_embeddings": 512,
    "low_freq_factor": 1.0, "high_freq_factor": 4.0,
}  # fmt: skip


@pytest.mark.parametrize(("name", "options", "lengths"), [
    ("Llama", {}, ()),
    ("Llama", {"rope_parameters": LLAMA3, "max_position_embeddings": 4096}, ()),
    ("Llama", {"rope_parameters": DYNAMIC, "max_position_embeddings": 2048}, (2048,)),
    ("Mistral", {"sliding_window": 4096, "max_position_embeddings": 32768}, (4096,)),
    ("Mistral", {"sliding_window": 4096, "max_position_embeddings": 4096}, ()),
    ("Mistral", {"sliding_window": None}, ()),
    ("Phi3", {"sliding_window": 2047, "max_position_embeddings": 131072, "rope_parameters": LONG,
              "original_max_position_embeddings": 4096}, (2047, 4096)),
    ("Qwen2", {"sliding_window": 4096, "use_sliding_window": False}, ()),
    ("Qwen2", {"sliding_window": 4096, "use_sliding_window": True}, (4096,)),
    ("Gemma3Text", {"sliding_window": 512}, (512,)),
    ("Gemma3Text", {"sliding_window": 512, "layer_types": ["full_attention"] * 26}, ()),
    ("Bert", {}, ()), ("GPT2", {}, ()), ("OPT", {}, ()),
    ("T5", {}, (128,)),
    ("Falcon", {"alibi": True}, (256,)), ("Falcon", {}, ()),
    ("DebertaV2", {"position_buckets": 256, "max_position_embeddings": 512}, (256,)),
])  # fmt: skip
def test_windows_distances_and_angles(name, options, lengths):
    assert switch_lengths(getattr(transformers, f"{name}Config")(**options)) == lengths
