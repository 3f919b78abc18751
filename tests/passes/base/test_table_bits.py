"""A head or an embedding that is left open gets 4 bits where a byte of it is cheap, and that is said."""

import pytest
from transformers import BertConfig, Gemma3TextConfig, LlamaConfig

from compress.passes.base.table_bits import narrow_shares
from compress.pipeline.contract import TargetCapability
from compress.pipeline.parse import Pipeline
from compress.pipeline.predict import ConfigOnlyModel, predict
from compress.pipeline.resolve import notices, resolve
from compress.weights.forms import Dense, Quantized

ANY = TargetCapability("test", (Dense, Quantized), bits=frozenset(range(2, 9)))
WITHOUT_4 = TargetCapability("narrow", (Dense, Quantized), bits=frozenset({3, 8}))
SMOLLM2 = LlamaConfig(
    vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
    num_key_value_heads=3, tie_word_embeddings=True,
)  # fmt: skip
GEMMA3_270M = Gemma3TextConfig(
    vocab_size=262144, hidden_size=640, intermediate_size=2048, num_hidden_layers=18, num_attention_heads=4,
    num_key_value_heads=1, head_dim=256, architectures=["Gemma3ForCausalLM"],
)  # fmt: skip
OWN_HEAD = LlamaConfig(
    vocab_size=64000, hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4,
    tie_word_embeddings=False,
)  # fmt: skip
TINY = LlamaConfig(
    vocab_size=3200, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
    tie_word_embeddings=True,
)  # fmt: skip
MINILM = BertConfig(hidden_size=384, intermediate_size=1536, num_hidden_layers=6, num_attention_heads=12)


@pytest.fixture
def opened(tmp_path):
    """A model of that config, without weights."""

    def read(config):
        config.save_pretrained(tmp_path)
        return ConfigOnlyModel.read(tmp_path)

    return read


def table_bits(model, text, target=ANY):
    """The bits of the embedding and the head, as predicted."""
    outline = model.architecture.outline
    weights = predict(model, Pipeline.parse(text), target).weights
    return tuple(weights[name].bits for name in (outline.embedding, outline.head) if name in weights)


@pytest.mark.parametrize(
    ("config", "text", "expected"),
    [
        (GEMMA3_270M, "int4", (4,)),
        (GEMMA3_270M, "int4:learned:64", (4,)),
        (GEMMA3_270M, "int4:rtn", (8,)),
        (GEMMA3_270M, "int8:gptq", (8,)),
        (GEMMA3_270M, "int4:head=int8", (8,)),
        (GEMMA3_270M, "int4:embed=int8", (8,)),
        (GEMMA3_270M, "int4:head=float:embed=float", (None,)),
        (SMOLLM2, "int4", (8,)),
        (SMOLLM2, "int4:head=int4:embed=int4", (4,)),
        (SMOLLM2, "int3", (4,)),
        (SMOLLM2, "int2", (4,)),
        (OWN_HEAD, "int4", (4, 4)),
        (OWN_HEAD, "int4:rtn", (4, 8)),
        (OWN_HEAD, "int8", (8, 8)),
        (OWN_HEAD, "int4:embed=int8", (8, 4)),
        (OWN_HEAD, "int4:embed=float", (None, 4)),
        (OWN_HEAD, "int4:embed=int4", (4, 4)),
        (OWN_HEAD, "int4:head=int8", (4, 8)),
        (TINY, "int3", (8,)),
        (MINILM, "int4", (4,)),
        (MINILM, "int3", (4,)),
        (MINILM, "int8", (8,)),
    ],
)
def test_the_default_follows_from_size_and_solver(opened, config, text, expected):
    assert table_bits(opened(config), text) == expected


def test_a_target_without_4_bits_gets_8(opened):
    assert table_bits(opened(GEMMA3_270M), "int3", WITHOUT_4) == (8,)


def test_the_shares_are_those_of_the_weights(opened):
    assert narrow_shares(opened(GEMMA3_270M), 4, True) == {"head": pytest.approx(0.6259, abs=1e-4)}
    assert narrow_shares(opened(SMOLLM2), 3, True) == {"head": pytest.approx(0.2105, abs=1e-4)}
    assert narrow_shares(opened(MINILM), 4, True) == {"embed": pytest.approx(0.5247, abs=1e-4)}
    assert narrow_shares(opened(OWN_HEAD), 4, False) == {"embed": pytest.approx(0.4630, abs=1e-4)}
    assert narrow_shares(opened(SMOLLM2), 3.5, True) == narrow_shares(opened(GEMMA3_270M), 4.5, True) == {}
    assert narrow_shares(opened(SMOLLM2), 3, False) == {}


@pytest.mark.parametrize(
    ("config", "text", "expected"),
    [
        (GEMMA3_270M, "int4", ["int4: the head, 63 % of the weights, has 4 bits too; head=int8:embed=int8 keeps both "
         "at 8"]),
        (OWN_HEAD, "int4", ["int4: the head, 46 % of the weights, has 4 bits too; head=int8 keeps it at 8",
         "int4: the embedding, 46 % of the weights, has 4 bits too; embed=int8 keeps it at 8"]),
        (MINILM, "int4", ["int4: the embedding, 52 % of the weights, has 4 bits too; embed=int8 keeps it at 8"]),
        (SMOLLM2, "int4", []),
        (GEMMA3_270M, "int4:head=int4:embed=int4", []),
    ],
)  # fmt: skip
def test_it_is_said(opened, config, text, expected):
    model = opened(config)
    resolved = resolve(model, Pipeline.parse(text), ANY)
    assert notices(model, [resolved], ANY) == expected
