"""Matrices that a pass is told to skip."""

import pytest
import torch

from compress.checkpoint.model import Model


def reports(variant):
    return {name: r for layer in variant.manifest.layers.values() for name, r in layer.weights.items()}


@pytest.mark.parametrize("skip", ["*.down_proj.weight", "*.0.*+*embed*", "model.layers.1.self_attn.q_proj.weight"])
def test_skipped_matrices_stay_as_they_are(untied, run, skip):
    variant, model = run(untied, f"int4:skip={skip}"), Model.open(str(untied))
    expected = {
        "*.down_proj.weight": {f"model.layers.{i}.mlp.down_proj.weight" for i in (0, 1)},
        "*.0.*+*embed*": {n for n in variant.manifest.weights if ".0." in n or "embed" in n},
    }.get(skip, {skip})
    dense = {name for name, form in variant.manifest.weights.items() if form.form == "dense"}
    assert dense == expected
    assert not dense & set(reports(variant))
    for name in dense:
        assert torch.equal(variant.weight(name).tensor, model.tensor(name))
