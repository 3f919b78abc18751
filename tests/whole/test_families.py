"""Every family with every technique on every target: one table, from which ``docs/families.md`` is written as well.

A new family is a row of `FAMILIES`. Each cell is run: it works, or is refused for the reason in `REFUSED`. After a
change of the table, write the page again with ``python -m tests.whole.test_families``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import onnxruntime_genai as genai
import pytest
import torch
import transformers

from compress.calibration.data import Calibration
from compress.calibration.head_inputs import HeadInputs
from compress.calibration.layer_inputs import LayerInputs
from compress.calibration.model_inputs import model_inputs
from compress.calibration.statistics import Statistic
from compress.calibration.walk import walk_blocks
from compress.checkpoint.model import Model
from compress.errors import UsageError
from compress.export.targets.base import find_target
from compress.modeling.classifier import auto_class
from compress.modeling.modules import stacks
from compress.modeling.seq2seq import decoder_inputs
from compress.passes.int8 import with_dynamic_inputs
from compress.passes.solvers.smoothing import SmoothQuant, smooth
from compress.pipeline.parse import Pipeline
from compress.pipeline.predict import ConfigOnlyModel, predict
from compress.pipeline.resolve import resolve
from compress.pipeline.run import run_pipeline
from compress.progress import Silent
from tests.support.models import add_noise_to_vectors, copy_checkpoint
from tests.support.tensors import random_scale, token_ids

DOCS = Path(__file__).parents[2] / "docs" / "families.md"
TOKENS = token_ids(4, 40)
"""Longer than the sliding windows below."""
IMAGES = torch.randn(4, 3, 48, 64, generator=torch.Generator().manual_seed(1))

HEADS = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.1}
"""Two heads of 64."""
WIDE = {**HEADS, "intermediate_size": 192, "max_position_embeddings": 128}
GROUPED = {**WIDE, "head_dim": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
WINDOW = {"sliding_window": 16}
OLD = {"n_embd": 128, "n_layer": 2, "n_head": 2, "n_inner": 192, "n_positions": 128, "initializer_range": 0.1}
FALCON = {**HEADS, "ffn_hidden_size": 192}
DISTIL = {"dim": 128, "hidden_dim": 192, "n_heads": 2, "n_layers": 2}
DEBERTA = {
    **WIDE, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16,
    "position_biased_input": False, "share_att_key": True, "norm_rel_ebd": "layer_norm",
}  # fmt: skip
LABELS = {"num_labels": 3}
T5 = {"d_model": 128, "d_ff": 192, "d_kv": 64, "num_heads": 2, "num_layers": 2, "relative_attention_max_distance": 32}
BART = {
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 192, "decoder_ffn_dim": 192,
    "encoder_layers": 1, "decoder_layers": 1, "d_model": 128, "max_position_embeddings": 128, "init_std": 0.1,
    "scale_embedding": True, "decoder_start_token_id": 1, "forced_eos_token_id": None,
}  # fmt: skip
PATCHES = {**HEADS, "intermediate_size": 192, "image_size": [48, 64], "patch_size": 16, "num_labels": 7}
FAMILIES = {
    "Llama": ("LlamaForCausalLM", {**GROUPED, "tie_word_embeddings": True}),
    "Mistral, with a window": ("MistralForCausalLM", {**GROUPED, **WINDOW}),
    "Qwen2": ("Qwen2ForCausalLM", GROUPED),
    "Qwen3": ("Qwen3ForCausalLM", GROUPED),
    "Phi-3, with a window": ("Phi3ForCausalLM", {**GROUPED, **WINDOW, "original_max_position_embeddings": 128}),
    "Mixtral, with a window": (
        "MixtralForCausalLM",
        {**GROUPED, **WINDOW, "num_local_experts": 4, "intermediate_size": 64},
    ),
    "Qwen3-MoE": (
        "Qwen3MoeForCausalLM",
        {**GROUPED, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64},
    ),
    "Gemma 2": ("Gemma2ForCausalLM", {**GROUPED, **WINDOW, "query_pre_attn_scalar": 64}),
    "Gemma 3": (
        "Gemma3ForCausalLM",
        {**GROUPED, **WINDOW, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "SmolLM3": ("SmolLM3ForCausalLM", {**GROUPED, "no_rope_layers": [1, 0]}),
    "Command-R": ("CohereForCausalLM", GROUPED),
    "Command-R7B": (
        "Cohere2ForCausalLM",
        {**GROUPED, **WINDOW, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "GPT-2": ("GPT2LMHeadModel", OLD),
    "GPT-J": ("GPTJForCausalLM", {**OLD, "rotary_dim": 32}),
    "GPT-NeoX": ("GPTNeoXForCausalLM", WIDE),
    "OPT": ("OPTForCausalLM", {**HEADS, "ffn_dim": 192, "word_embed_proj_dim": 128, "max_position_embeddings": 128}),
    "BLOOM": ("BloomForCausalLM", HEADS),
    "Falcon, one KV head": ("FalconForCausalLM", {**FALCON, "new_decoder_architecture": False, "multi_query": True}),
    "Falcon, new": (
        "FalconForCausalLM",
        {**FALCON, "hidden_size": 256, "num_attention_heads": 4, "new_decoder_architecture": True, "num_kv_heads": 2},
    ),
    "Falcon, ALiBi": (
        "FalconForCausalLM",
        {**FALCON, "alibi": True, "multi_query": False, "parallel_attn": False, "bias": True},
    ),
    "MPT": ("MptForCausalLM", {"d_model": 128, "n_heads": 2, "n_layers": 2, "initializer_range": 0.1}),
    "BERT": ("BertModel", WIDE),
    "RoBERTa": ("RobertaModel", WIDE),
    "DistilBERT": ("DistilBertModel", DISTIL),
    "MPNet": ("MPNetModel", {**WIDE, "pad_token_id": 1}),
    "DeBERTa-v2": ("DebertaV2Model", DEBERTA),
    "BERT, sequences": ("BertForSequenceClassification", {**WIDE, **LABELS}),
    "RoBERTa, sequences": ("RobertaForSequenceClassification", {**WIDE, **LABELS}),
    "DistilBERT, sequences": ("DistilBertForSequenceClassification", {**DISTIL, **LABELS}),
    "MPNet, sequences": ("MPNetForSequenceClassification", {**WIDE, **LABELS, "pad_token_id": 1}),
    "DeBERTa-v2, sequences": ("DebertaV2ForSequenceClassification", {**DEBERTA, **LABELS}),
    "XLM-RoBERTa, sequences": ("XLMRobertaForSequenceClassification", {**WIDE, **LABELS}),
    "Llama, sequences": ("LlamaForSequenceClassification", {**GROUPED, **LABELS}),
    "BERT, tokens": ("BertForTokenClassification", {**WIDE, **LABELS}),
    "DistilBERT, tokens": ("DistilBertForTokenClassification", {**DISTIL, **LABELS}),
    "T5": ("T5ForConditionalGeneration", T5),
    "T5 1.1, gated, own head": (
        "T5ForConditionalGeneration", {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "BART": ("BartForConditionalGeneration", BART),
    "Marian": ("MarianMTModel", {**BART, "activation_function": "swish"}),
    "ViT": ("ViTForImageClassification", PATCHES),
    "DeiT": ("DeiTForImageClassification", PATCHES),
}  # fmt: skip
AS_ITS_BASE = frozenset(
    ("RoBERTa, sequences", "DistilBERT, sequences", "MPNet, sequences", "DeBERTa-v2, sequences", "BERT, tokens",
     "DistilBERT, tokens", "DeiT", "XLM-RoBERTa, sequences", "Llama, sequences")
)  # fmt: skip
"""Families of which a few passes are run, since the others do to their layers what they do to another family's."""
OWN_HEAD = "T5 1.1, gated, own head"
PASSES = {
    "fp16": "fp16",
    "int8": "int8:fallback=1.0",
    "int4": "int4:group=64",
    "lowrank": "lowrank:rank=0.4",
    "prune": "prune:ratio=0.5",
    "sparse24": "sparse24",
    "fuse": "fuse",
}
WITH_HEADS = ("int8", "fuse")
TARGETS = ("hf", "ort-cpu")
INTEGERS = ("int8", "int4")
ODD = "transformers' own {}, of which compressed-tensors loads no integers"
ALL_AT_ONCE = "the MLP channels of a {} can't be dropped one by one"
REFUSED = {
    (None, "lowrank", "hf"): r"hf can't hold what lowrank produces \(Factored\)",
    (None, "fuse", "hf"): "graph pass fuse does not apply to target hf",
    **{("GPT-2", word, "hf"): f"the linears of a gpt2 are {ODD.format('Conv1D')}" for word in INTEGERS},
    **{
        (family, word, "hf"): f"the linears of a falcon are {ODD.format('FalconLinear')}"
        for family in ("Falcon, one KV head", "Falcon, new", "Falcon, ALiBi")
        for word in INTEGERS
    },
    **{
        (family, word, "hf"): "transformers loads no packed integers of a t5"
        for family in ("T5", OWN_HEAD)
        for word in INTEGERS
    },
    ("Mixtral, with a window", "prune", None): ALL_AT_ONCE.format("MixtralForCausalLM"),
    ("Qwen3-MoE", "prune", None): ALL_AT_ONCE.format("Qwen3MoeForCausalLM"),
    ("BLOOM", "prune", None): "the config of a BloomForCausalLM can't say a narrower MLP",
    ("MPT", "prune", None): "the config of a MptForCausalLM can't say a narrower MLP",
}
"""What is said where a cell doesn't work; None stands for every family, or every target."""
EVERY = [(family, word) for family in FAMILIES for word in PASSES if word in WITH_HEADS or family not in AS_ITS_BASE]
QUICK = ("Llama", "Mixtral, with a window", "BERT", "BERT, sequences", "T5", "ViT")
"""One family of each kind, which the quick tests run; the others are slow all together."""


def cells(pairs):
    """Parameters of which those of other families than the quick ones are slow; the first of each is its family."""
    return [pytest.param(*pair, marks=() if pair[0] in QUICK else pytest.mark.slow) for pair in pairs]


ONE_EACH = cells((family,) for family in FAMILIES)


def refusal(family, word, target):
    """The reason that a cell doesn't work, or None."""
    keys = ((family, word, target), (None, word, target), (family, word, None), (family, None, target))
    return next((REFUSED[key] for key in keys if key in REFUSED), None)


@pytest.fixture(scope="session")
def path_of(random_model, tmp_path_factory):
    """``path_of(family)``: its model, made once."""

    @cache
    def make(family):
        name, options = FAMILIES[family]
        folder = tmp_path_factory.mktemp("families")
        path = copy_checkpoint(random_model(name, **options), folder / "model", add_noise_to_vectors)
        if family == OWN_HEAD:  # the class ties it, until a checkpoint has one
            module = transformers.AutoModelForSeq2SeqLM.from_pretrained(path)
            module.lm_head.weight = torch.nn.Parameter(torch.randn_like(module.lm_head.weight) / 10)
            module.save_pretrained(path)
        return path

    return make


def loaded(path, model):
    """A checkpoint as its user loads it."""
    auto = getattr(transformers, auto_class(model.kind, model.architecture.class_name))
    return auto.from_pretrained(path, dtype=torch.float32).eval()


def read_by(kind):
    """Text, or images."""
    return IMAGES if kind.is_vision else TOKENS


def example_inputs(module):
    """What a module is called with: an encoder-decoder reads and writes the same text."""
    written = {"decoder_input_ids": decoder_inputs(module.config, TOKENS)} if module.config.is_encoder_decoder else {}
    return model_inputs(IMAGES if module.main_input_name == "pixel_values" else TOKENS) | written


@pytest.mark.parametrize("family", ONE_EACH)
def test_layers_run_by_themselves_as_in_the_module(path_of, monkeypatch, family):
    """Read as transformers reads it, and walked layer by layer to the same hidden states, and inputs of the head."""
    monkeypatch.setattr("compress.calibration.precision.native_bfloat16", lambda: False)
    model = Model.open(str(path_of(family)))
    module, outputs, walked, read, heads = loaded(path_of(family), model), [], {}, [], []
    for _, layers in stacks(module):
        layers[-1].register_forward_hook(lambda *call: outputs.append(call[2]))
    if model.kind.generates_text:
        module.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].flatten(0, 1)))
    for block, inputs in walk_blocks(model, read_by(model.kind), Silent(), originals=True):
        if isinstance(inputs, LayerInputs):
            walked[block.name.rpartition(".")[0]] = inputs.states, inputs.original_states
        if isinstance(inputs, HeadInputs):
            heads += inputs.statistics(Statistic.MISMATCH).values()
    with torch.inference_mode():
        module(**example_inputs(module))
    assert len(heads) == len(read) == model.kind.generates_text
    for entry, x in zip(heads, read, strict=True):
        assert torch.allclose(entry.gram, x.T @ x / len(x), rtol=1e-4, atol=1e-5)
        assert not entry.mismatch.any()
    assert len(walked) == len(outputs)
    for (states, originals), output in zip(walked.values(), outputs, strict=True):
        expected = output[0] if isinstance(output, tuple) else output
        assert torch.allclose(torch.cat(states), expected, atol=1e-5)
        assert torch.allclose(torch.cat(originals), expected, atol=1e-5)


FOLDS = {
    "Llama": 4, "Mistral, with a window": 4, "Qwen2": 4, "Qwen3": 4, "Phi-3, with a window": 4, "Gemma 2": 4,
    "Gemma 3": 4, "SmolLM3": 4, "Command-R": 3, "Command-R7B": 3,
    "Mixtral, with a window": 2, "Qwen3-MoE": 2, "GPT-2": 3, "GPT-J": 2, "GPT-NeoX": 3,
    "BLOOM": 3, "Falcon, one KV head": 2, "Falcon, new": 3, "Falcon, ALiBi": 3,
    "OPT": 3, "MPT": 3, "BERT": 1, "RoBERTa": 1, "DistilBERT": 1, "MPNet": 1, "DeBERTa-v2": 1,
    "BERT, sequences": 1, "RoBERTa, sequences": 1,
    "XLM-RoBERTa, sequences": 1, "Llama, sequences": 4, "DistilBERT, sequences": 1, "MPNet, sequences": 1,
    "DeBERTa-v2, sequences": 1, "BERT, tokens": 1, "DistilBERT, tokens": 1,
    "T5": (3, 5), OWN_HEAD: (4, 6), "BART": (1, 2), "Marian": (1, 2), "ViT": 3, "DeiT": 3,
}  # fmt: skip
"""Places of a layer where activation ranges can be folded into what makes them; or an encoder's and a decoder's."""


@pytest.mark.parametrize("family", ONE_EACH)
def test_scales_fold_without_changing_what_a_layer_says(path_of, monkeypatch, family):
    monkeypatch.setattr("compress.passes.solvers.smoothing._best_scale", lambda block, fold, *_: random_scale(fold))
    monkeypatch.setattr("compress.calibration.precision.native_bfloat16", lambda: False)
    model = Model.open(str(path_of(family)))
    for block, inputs in walk_blocks(model, read_by(model.kind), Silent()):
        if block.role == "layer":
            offered = FOLDS.get(family, 0)
            in_decoder = "decoder." in block.name
            assert len(block.folds) == (offered[in_decoder] if isinstance(offered, tuple) else offered)
            block.vectors |= {name: vector + 0.1 for name, vector in block.vectors.items()}  # biases start as zeros
            inputs.refresh()
            before, weights = inputs.forward(0, {}), dict(block.weights)
            smooth(block, inputs, SmoothQuant(with_dynamic_inputs))
            inputs.refresh()
            assert (inputs.forward(0, {}) - before).norm() <= 1e-5 * before.norm()
            assert any(block.weights[name] is not weight for name, weight in weights.items()) == bool(block.folds)


IN_ITS_MIDDLE = {
    **dict.fromkeys(("Gemma 2", "Gemma 3"), "a gain behind each part"),
    **dict.fromkeys(("BERT", "RoBERTa", "DistilBERT", "MPNet", "DeBERTa-v2", "BART", "Marian"), "a norm in the stream"),
    "BLOOM": "a norm behind the embedding",
    "T5": "its head is tied",
}
"""Families of which `rotate` turns the heads' values alone, and why; those with a head on top are like their base."""


@pytest.mark.parametrize("family", [param for param in ONE_EACH if param.values[0] not in AS_ITS_BASE])
def test_rotated_weights_give_the_same_logits(path_of, family):
    """All weights of the layers are others then, or the values' alone."""
    model, target = Model.open(str(path_of(family))), find_target("hf")
    in_stream = "off" if family.partition(",")[0] in IN_ITS_MIDDLE and family != OWN_HEAD else "on"
    auto = resolve(model, Pipeline.parse("rotate"), target.capability).weight_passes[0]
    assert (auto.residual, auto.heads) == ("off" if model.tied else in_stream, "on")
    if in_stream == "off":
        with pytest.raises(UsageError, match=f"the residual stream of a {model.class_name} can't be rotated: "):
            resolve(model, Pipeline.parse("rotate:residual=on"), target.capability)
    [pass_] = resolve(model, Pipeline.parse(f"rotate:residual={in_stream}"), target.capability).weight_passes
    rotated = pass_.reparameterize(model)
    module, turned = model.torch_module(), rotated.torch_module()
    with torch.inference_mode():
        exact, logits = (one(**example_inputs(module))[0] for one in (module, turned))
    assert (exact - logits).abs().max() <= 1e-4 * max(1.0, float(exact.abs().max()))
    changed = [n for n in model.matrices if not torch.equal(model.weight(n).tensor, rotated.weight(n).tensor)]
    values = 2 * sum(model.architecture.outline.layer_counts.values())
    crossed = values // 2 if model.kind.is_seq2seq else 0
    assert len(changed) == (len(model.matrices) if in_stream == "on" else values + crossed)


@pytest.mark.parametrize(("family", "word"), cells(EVERY))
def test_every_cell(path_of, tmp_path, family, word):
    """Refused before the work; or made, read back by transformers as it is meant, and exported to the same numbers."""
    model, pipeline = Model.open(str(path_of(family))), Pipeline.parse(PASSES[word])
    variant = None
    for target in map(find_target, TARGETS):
        if reason := refusal(family, word, target.name):
            with pytest.raises(UsageError, match=reason) as error:
                target.check(pipeline.passes)
                resolve(model, pipeline, target.capability)
            assert error.value.exit_code == 2
            continue
        target.check(pipeline.passes)
        assert resolve(model, pipeline, target.capability)
        if variant is None:  # one variant serves every target that holds it
            variant = run_pipeline(
                model, pipeline, target.capability, tmp_path, lambda: calibration(model), 0, Silent()
            )
            predicted = predict(ConfigOnlyModel.read(path_of(family)), pipeline, target.capability)
            assert (predicted.weights, predicted.nbytes) == (variant.manifest.weights, variant.manifest.nbytes)
        if target.name == "hf":
            check_reading(variant, word)
        artifact = tmp_path / target.folder
        artifact.mkdir(exist_ok=True)
        target.export(variant, pipeline.graph_passes, artifact, Silent())  # the parity gate is in it
        if word == "fuse" and variant.kind.is_decoder_only:
            check_generating(variant, artifact)


@pytest.mark.parametrize(
    "family",
    cells((family,) for family, (name, _) in FAMILIES.items() if name.endswith(("CausalLM", "LMHeadModel"))),
)
def test_a_cache_of_int8_passes_the_gate(path_of, tmp_path, family):
    """The gate asserts: an export whose outputs are off raises."""
    model, target = Model.open(str(path_of(family))), find_target("ort-cpu")
    target.export(model, Pipeline.parse("fuse:kv=int8").graph_passes, tmp_path, Silent())


def check_reading(variant, word):
    """transformers reads a variant to the very numbers that it holds, and to others than before."""
    module = variant.torch_module()
    with torch.inference_mode():
        ours = (module if variant.kind.has_head else module.base_model)(**example_inputs(module))[0]
        theirs = loaded(variant.path, variant)(**example_inputs(module))[0]
    rounds_inputs = word == "int8" and not variant.kind.generates_text
    bound = 0.25 if rounds_inputs else 1e-4
    assert (ours - theirs).norm() <= bound * ours.norm()
    assert variant.manifest.weights


def check_generating(variant, artifact):
    """onnxruntime-genai generates from an artifact as it is what torch generates."""
    model = genai.Model(str(artifact))
    parameters = genai.GeneratorParams(model)
    parameters.set_search_options(max_length=24, do_sample=False)
    generator = genai.Generator(model, parameters)
    generator.append_tokens(TOKENS[:1, :8].int().numpy())
    while not generator.is_done():
        generator.generate_next_token()
    expected = (
        variant.torch_module().generate(TOKENS[:1, :8], max_length=24, do_sample=False, pad_token_id=2)[0].tolist()
    )
    assert list(generator.get_sequence(0)) == expected[: expected.index(1) if 1 in expected else None]  # 1 ends a text


def calibration(model):
    """Random text, or images."""
    return Calibration(read_by(model.kind), "test")


REASONS = {
    "BLOOM": {"apply_residual_connection_post_layernorm": True},
    "MPT": {"attn_config": {"clip_qkv": 0.5}},
    "BART": {"activation_function": "tanh"},
}
"""Settings that no graph is known of."""


@pytest.mark.parametrize("family", REASONS)
def test_a_setting_that_no_graph_is_known_of_is_refused(random_model, family):
    name, options = FAMILIES[family]
    model = Model.open(str(random_model(name, **{**options, **REASONS[family]})))
    setting = next(iter(REASONS[family]))
    with pytest.raises(UsageError, match=f"ort-cpu cannot export .* models with {setting}.*; use --target hf"):
        resolve(model, Pipeline.parse("int8"), find_target("ort-cpu").capability)


def cell(family, word, target, reasons):
    """What the page says of a family, a pass and a target."""
    reason = refusal(family, word, target)
    if reason is not None:
        return str(reasons.index(reason) + 1)
    return "✓" if (family, word) in EVERY else ""


TRACED = {
    "GPT-NeoX": {"use_parallel_residual": False},
    "OPT": {"do_layer_norm_before": False},
    "GPT-2": {"scale_attn_by_inverse_layer_idx": True},
    "Qwen3-MoE": {"mlp_only_layers": [0]},
}
"""Settings that mobius doesn't read, of models that torch can trace."""


@pytest.mark.parametrize("family", TRACED)
def test_a_setting_that_no_built_graph_has_is_not_refused(random_model, family):
    """What comes of tracing it is tested by the families that have no other graph: a trace takes seconds."""
    name, options = FAMILIES[family]
    model = Model.open(str(random_model(name, **{**options, **TRACED[family]})))
    assert resolve(model, Pipeline.parse("int8"), find_target("ort-cpu").capability)


def page():
    """The page of the docs."""
    head = [f"`{word}`" for word in PASSES]
    lines = [
        "# Which families go with what",
        "",
        "✓ works; a number is a reason below, for which it is refused before any weight is read.",
        "`tests/whole/test_families.py` runs every cell on tiny models of realistic shape, and writes this page: the",
        "variant is made, transformers reads it back to the same logits, and an export passes the parity gate.",
        "Sequences and tokens: `…ForSequenceClassification` and `…ForTokenClassification`, with their heads; ViT and",
        "DeiT: `…ForImageClassification`. What is left blank isn't run, since it does what it does to another family.",
        "Many more [architectures](architectures.md) are known; these go through more.",
        "",
    ]
    reasons = list(dict.fromkeys(REFUSED.values()))
    for target in TARGETS:
        lines += [f"Target `{target}`:", "", f"| family | {' | '.join(head)} |", "| --- |" + " --- |" * len(PASSES)]
        for family in FAMILIES:
            cells = [cell(family, word, target, reasons) for word in PASSES]
            lines.append(f"| {family} | {' | '.join(cells)} |")
        lines.append("")
    lines += [f"{i}. {reason.replace(chr(92), '')}" for i, reason in enumerate(reasons, 1)]
    lines += [
        "",
        "`rotate`, on every target: the values of attention heads of every family, and the residual stream where",
        "nothing but norms and linears reads it; the logits stay the same to 1e-4. The stream is left as it is in",
        *(f"- {family}: {reason}" for family, reason in IN_ITS_MIDDLE.items()),
    ]
    return "\n".join([*lines, ""])


def test_the_docs_say_so():
    assert DOCS.read_text() == page(), "write the page again: python -m tests.whole.test_families"


if __name__ == "__main__":
    DOCS.write_text(page())
