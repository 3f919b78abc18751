"""Supported model families, one row each: class, norms to fold scales into, experts, renamed tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compress.modeling.kinds import DECODER, ENCODER, IMAGE_CLASSIFIER, SEQ2SEQ, TaskKind

_QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_GATE_UP = ("mlp.gate_proj", "mlp.up_proj")
Gains = tuple[tuple[str, tuple[str, ...]], ...]
"""Norms of a layer, each with the linears that are all that reads it."""
_PRE_NORM: Gains = (("input_layernorm", _QKV), ("post_attention_layernorm", _GATE_UP))
_OF_PATCHES: Gains = (
    ("layernorm_before", ("attention.q_proj", "attention.k_proj", "attention.v_proj")),
    ("layernorm_after", ("mlp.fc1",)),
)
_OLD_PATCHES = (
    ("encoder.layer.", "layers."),
    ("attention.attention.query", "attention.q_proj"),
    ("attention.attention.key", "attention.k_proj"),
    ("attention.attention.value", "attention.v_proj"),
    ("attention.output.dense", "attention.o_proj"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
)


@dataclass(frozen=True)
class Family:
    """A model type's facts. ``cls`` is the class that it is loaded as; an encoder may also have a classifier's head.

    ``gains`` are the norms that a scale can be folded into. A norm whose gain is 1 + weight is none of them, nor is one
    that feeds the residual stream as well. ``pairs``: layers return their hidden states as the first of a tuple.
    ``experts``: what checkpoints call an expert's gate, up and down projection, where there are experts. ``biases``:
    the part of a stack's first layer that makes the biases of attention which all its layers are called with.
    ``packs``: whether transformers loads packed integers of it. ``renamed``: parts of names that checkpoints store, and
    what transformers 5 calls them, in this order.
    """

    cls: str
    kind: TaskKind = DECODER
    gains: Gains = ()
    pairs: bool = False
    experts: tuple[str, str, str] | None = None
    biases: str | None = None
    packs: bool = True
    renamed: tuple[tuple[str, str], ...] = ()


FAMILIES: Mapping[str, Family] = {
    "llama": Family("LlamaForCausalLM", gains=_PRE_NORM),
    "mistral": Family("MistralForCausalLM", gains=_PRE_NORM),
    "qwen2": Family("Qwen2ForCausalLM", gains=_PRE_NORM),
    "qwen3": Family("Qwen3ForCausalLM", gains=_PRE_NORM),
    "phi3": Family(
        "Phi3ForCausalLM",
        gains=(("input_layernorm", ("self_attn.qkv_proj",)), ("post_attention_layernorm", ("mlp.gate_up_proj",))),
    ),
    "mixtral": Family("MixtralForCausalLM", gains=(("input_layernorm", _QKV),), experts=("w1", "w3", "w2")),
    "qwen3_moe": Family(
        "Qwen3MoeForCausalLM",
        gains=(("input_layernorm", _QKV),),
        experts=("gate_proj", "up_proj", "down_proj"),
    ),
    "gemma2": Family("Gemma2ForCausalLM"),
    "gemma3_text": Family("Gemma3ForCausalLM"),
    "smollm3": Family("SmolLM3ForCausalLM", gains=_PRE_NORM),
    "cohere": Family("CohereForCausalLM", gains=(("input_layernorm", (*_QKV, *_GATE_UP)),)),
    "cohere2": Family("Cohere2ForCausalLM", gains=(("input_layernorm", (*_QKV, *_GATE_UP)),)),
    "gpt2": Family("GPT2LMHeadModel", gains=(("ln_1", ("attn.c_attn",)), ("ln_2", ("mlp.c_fc",)))),
    "gptj": Family(
        "GPTJForCausalLM",
        gains=(("ln_1", ("attn.q_proj", "attn.k_proj", "attn.v_proj", "mlp.fc_in")),),
        pairs=True,
    ),
    "gpt_neox": Family(
        "GPTNeoXForCausalLM",
        gains=(
            ("input_layernorm", ("attention.query_key_value",)),
            ("post_attention_layernorm", ("mlp.dense_h_to_4h",)),
        ),
    ),
    "opt": Family("OPTForCausalLM"),
    "bloom": Family("BloomForCausalLM", pairs=True),
    "falcon": Family("FalconForCausalLM", pairs=True),
    "mpt": Family(
        "MptForCausalLM",
        gains=(("norm_1", ("attn.Wqkv",)), ("norm_2", ("ffn.up_proj",))),
        pairs=True,
    ),
    "bert": Family("BertModel", ENCODER),
    "roberta": Family("RobertaModel", ENCODER),
    "distilbert": Family("DistilBertModel", ENCODER),
    "mpnet": Family("MPNetModel", ENCODER, pairs=True),
    "deberta-v2": Family("DebertaV2Model", ENCODER, pairs=True),
    "t5": Family(
        "T5ForConditionalGeneration",
        SEQ2SEQ,
        gains=(
            ("layer.0.layer_norm", ("layer.0.SelfAttention.q", "layer.0.SelfAttention.k", "layer.0.SelfAttention.v")),
            ("layer.1.layer_norm", ("layer.1.EncDecAttention.q",)),
            *((f"layer.{i}.layer_norm", (f"layer.{i}.DenseReluDense.wi",)) for i in (1, 2)),
            *(
                (f"layer.{i}.layer_norm", (f"layer.{i}.DenseReluDense.wi_0", f"layer.{i}.DenseReluDense.wi_1"))
                for i in (1, 2)
            ),
        ),
        biases="layer.0.SelfAttention",
        packs=False,  # its initialization reads every linear's weight, which packed integers don't have
    ),
    "vit": Family("ViTForImageClassification", IMAGE_CLASSIFIER, gains=_OF_PATCHES, renamed=_OLD_PATCHES),
    "deit": Family("DeiTForImageClassification", IMAGE_CLASSIFIER, gains=_OF_PATCHES, renamed=_OLD_PATCHES),
    "bart": Family("BartForConditionalGeneration", SEQ2SEQ),
    "marian": Family("MarianMTModel", SEQ2SEQ),
}
"""Families by the ``model_type`` of their config."""


def supported() -> str:
    """The supported classes, as a message lists them."""
    writers = [family.cls for family in FAMILIES.values() if family.kind.has_head]
    encoders = [f"{family.cls} (with any head)" for family in FAMILIES.values() if not family.kind.has_head]
    return ", ".join([*writers, *encoders])
