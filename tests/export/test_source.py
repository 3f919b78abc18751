"""Which source an export's graph comes from, and what is said where it isn't the first."""

import pytest
from transformers import GPT2Config

from compress.checkpoint.model import Model
from compress.errors import ExportError
from compress.export.source import unsupported_reason
from compress.export.targets.base import find_target
from compress.passes.fuse import Fuse
from compress.progress import Silent

WRONG = {
    "hidden_size": 128, "num_hidden_layers": 2, "initializer_range": 0.1, "intermediate_size": 192, "head_dim": 64,
    "max_position_embeddings": 128, "num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": 16,
    "layer_types": ["sliding_attention", "full_attention"],
}  # fmt: skip
"""A model of the table of families, which mobius builds another graph of."""


@pytest.mark.slow
def test_what_is_asked_for_is_taken_and_passes_the_gate(tiny, tmp_path):
    """Of the model that the tests of tracing trace as well: it is traced once for both."""
    model = Model.open(str(tiny("LlamaForCausalLM", tie_word_embeddings=True, num_hidden_layers=3)))
    find_target("ort-cpu").with_graph("traced").export(model, [Fuse()], tmp_path, progress := Silent())
    assert progress.notices == []
    assert (tmp_path / "genai_config.json").is_file()


@pytest.mark.slow
def test_a_built_graph_that_differs_is_traced_instead_and_that_is_said(random_model, tmp_path):
    model = Model.open(str(random_model("Cohere2ForCausalLM", **WRONG)))
    target = find_target("ort-cpu")
    target.export(model, (), tmp_path, progress := Silent())
    (notice,) = progress.notices
    assert notice.startswith("the exported graph differs from torch in logits (one text, without a cache): by ")
    assert notice.endswith(": the model is traced instead")
    with pytest.raises(ExportError, match="differs from torch in logits"):
        target.with_graph("built").export(model, (), tmp_path, progress)


def test_experts_are_traced_to_the_same_outputs(random_model, tmp_path):
    """The parity gate asserts: an export whose outputs are off raises."""
    options = {"hidden_size": 64, "num_hidden_layers": 1, "intermediate_size": 64, "num_local_experts": 3}
    model = Model.open(str(random_model("MixtralForCausalLM", **options)))
    find_target("ort-cpu").with_graph("traced").export(model, (), tmp_path, Silent())


def test_layers_that_attend_to_an_encoder_as_well_have_no_graph():
    assert unsupported_reason(GPT2Config()) is None
    assert unsupported_reason(GPT2Config(add_cross_attention=True)) == "gpt2 models with add_cross_attention=True"
