"""The cost of making one variant, in a process of its own."""

from __future__ import annotations

import pytest

from compress.benchmarks.project.cost import cost
from compress.errors import RunError


@pytest.mark.slow
def test_the_cost_of_one_variant(tiny, tmp_path):
    model = tiny("LlamaForCausalLM", tie_word_embeddings=True)
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over a lazy dog " * 50)
    costs = cost(model, "int8:act=dynamic", text, 2, 16)
    assert costs.seconds > 0.1
    assert costs.peak_rss > 50 << 20
    with pytest.raises(RunError, match="nothing"):
        cost(model, "nothing", text, 2, 16)
