"""ALiBi's slopes against the paper's geometric sequence."""

from __future__ import annotations

import pytest
import torch
from transformers import BloomConfig, FalconConfig, LlamaConfig, MptConfig

from compress.export.built.alibi import slopes


@pytest.mark.parametrize("heads", [2, 8])
def test_slopes_halve_as_in_the_paper(heads):
    """2^(-8 / n), and its powers."""
    expected = torch.tensor([2 ** (-8 * (head + 1) / heads) for head in range(heads)])
    width = 16 * heads
    torch.testing.assert_close(slopes(BloomConfig(n_head=heads, hidden_size=width)), expected)
    torch.testing.assert_close(slopes(MptConfig(n_heads=heads, d_model=width)), expected)
    falcon = FalconConfig(num_attention_heads=heads, hidden_size=width, alibi=True)
    torch.testing.assert_close(slopes(falcon), expected / 16**0.5, rtol=1e-2, atol=0)  # transformers' are bfloat16


def test_other_models_have_none():
    assert slopes(LlamaConfig()) is None
    assert slopes(FalconConfig(alibi=False)) is None
