"""Graphs that mobius builds: every weight by the checkpoint's name, or a refusal."""

from __future__ import annotations

import pytest
from transformers import ViTConfig

from compress.checkpoint.model import Model
from compress.errors import ExportError
from compress.export.built.build import build


@pytest.mark.parametrize("fused", [True, False])
def test_weights_have_the_names_of_the_checkpoint(llama, fused):
    model = Model.open(str(llama))
    graph = build(model.config, model.names, fused)
    weights = {name: value for name, value in graph.model.graph.initializers.items() if value.const_value is None}
    assert sorted(weights) == sorted(graph.rows) == sorted(model.names)
    assert all(rows.tensor == name and rows.indices is None for name, rows in graph.rows.items())
    for name, value in weights.items():
        assert tuple(value.shape) == model.shapes[name]
    domains = {node.domain for node in graph.model.graph}
    assert ("com.microsoft" in domains) == fused


def test_packed_weights_are_rows_of_the_checkpoints(tiny):
    """GPT-2 stores q, k and v as one matrix."""
    model = Model.open(str(tiny("GPT2LMHeadModel")))
    rows = build(model.config, model.names, fused=False).rows
    parts = {name: part for name, part in rows.items() if part.tensor.endswith("h.0.attn.c_attn.weight")}
    assert sorted(name.split("@")[0].split(".")[-2] for name in parts) == ["k_proj", "q_proj", "v_proj"]
    assert sorted(int(part.indices[0]) for part in parts.values()) == [0, 64, 128]


def test_a_weight_that_the_checkpoint_lacks_is_refused(llama):
    model = Model.open(str(llama))
    names = [name for name in model.names if not name.endswith("layers.1.mlp.up_proj.weight")]
    with pytest.raises(ExportError, match=r"weight 'model.layers.1.mlp.up_proj.weight' can't be traced to rows"):
        build(model.config, names, fused=False)


def test_a_type_that_mobius_has_no_graph_of_is_refused():
    with pytest.raises(ExportError, match="cannot build an ONNX graph of vit models; use --target hf"):
        build(ViTConfig(), [], fused=False)


def test_weights_that_mobius_looks_for_in_vain_are_an_export_error(tiny):
    """It ties GPT-NeoX's head by names that this family has not; such a model is traced."""
    sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 96}
    model = Model.open(str(tiny("GPTNeoXForCausalLM", tie_word_embeddings=True, **sizes)))
    with pytest.raises(ExportError, match="mobius can't read gpt_neox weights: tie_word_embeddings"):
        build(model.config, model.names, fused=False)
