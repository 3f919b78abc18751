"""Depth scaling: truncated copies, the line through their costs, one real cost."""

from __future__ import annotations

import copy

import pytest
import torch

from compress.benchmarks.project.cost import Cost
from compress.benchmarks.project.depth import DEPTHS, LinearFit, cost_figures, cost_lines, truncated
from compress.checkpoint.model import Model


def costs(seconds):
    return {depth: Cost(seconds(depth), depth << 20) for depth in DEPTHS}


def test_a_truncated_model_is_the_model_without_its_last_layers(tiny, tmp_path):
    model = Model.open(str(tiny("LlamaForCausalLM", num_hidden_layers=3, tie_word_embeddings=True)))
    short = Model.open(str(truncated(model, 2, tmp_path / "short")))
    expected = copy.deepcopy(model.torch_module())
    expected.model.layers = expected.model.layers[:2]
    ids = torch.arange(3, 20)[None]
    with torch.inference_mode():
        assert torch.equal(short.torch_module()(ids).logits, expected(ids, use_cache=False).logits)
    assert short.tokenizer()("fox").input_ids == model.tokenizer()("fox").input_ids


def test_a_straight_line():
    line = LinearFit.fit(costs(lambda depth: 5 + 2.0 * depth))
    assert (line.start, line.layer, line.r2, line.growth) == pytest.approx((5, 2, 1, 1))


def test_a_curve_shows_in_growth_though_hardly_in_r2():
    line = LinearFit.fit(costs(lambda depth: 0.01 * depth**2 + depth))
    assert line.r2 > 0.99
    assert line.growth == pytest.approx(1.46 / 1.2)  # slope of a square between a and b: a + b


def test_what_is_shown():
    fits = costs(lambda depth: 5 + 2.0 * depth)
    assert cost_figures(fits) == pytest.approx({"wall_s": 65, "peak_gib": 30 / 1024, "r2": 1, "growth": 1})
    lines = cost_lines(fits)
    assert lines[1].split() == ["4", "13.0", "0.00"]
    assert lines[-1].startswith("seconds = 5.0 + 2.00 × layers, R² 1.0000; ")
