"""Every architecture of a kind that is known, as tiny random models: what is compressed, what is refused, and why."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from compress.api.compress_model import resolve_for_targets
from compress.api.target_set import TargetSet
from compress.calibration import precision
from compress.calibration.data import Calibration
from compress.calibration.layer_inputs import LayerInputs
from compress.calibration.walk import walk_blocks
from compress.checkpoint.model import Model
from compress.errors import CompressError
from compress.export.targets.base import find_target
from compress.modeling.families import family_of
from compress.modeling.modules import stacks
from compress.pipeline.parse import Pipeline
from compress.pipeline.run import run_pipeline
from compress.progress import Silent
from tests.support.models import add_noise_to_vectors, copy_checkpoint, save_model
from tests.whole.test_families import check_reading, example_inputs, loaded, read_by

SIZES = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 128, "initializer_range": 0.1,
}  # fmt: skip
ONE_KV = {key: value for key, value in SIZES.items() if key not in ("num_key_value_heads", "head_dim")}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
LOCAL = {"num_local_experts": 4, "num_experts_per_tok": 2}
OLD = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_inner": 96, "n_positions": 128, "initializer_range": 0.1}
MLA = {
    "q_lora_rank": 32, "kv_lora_rank": 32, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16,
    "num_key_value_heads": 4, "head_dim": 8,
}  # fmt: skip
ROUTED = {
    "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_group": 1,
    "topk_group": 1, "first_k_dense_replace": 1,
}  # fmt: skip
LINEAR = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 16,
    "layer_types": ["linear_attention", "full_attention"],
}  # fmt: skip
MAMBA = {
    "mamba_d_state": 16, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_n_heads": 8, "mamba_d_head": 16,
    "mamba_n_groups": 1, "mamba_d_ssm": 128, "mamba_chunk_size": 16,
}  # fmt: skip
BART = {
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96,
    "encoder_layers": 2, "decoder_layers": 2, "d_model": 64, "max_position_embeddings": 128, "init_std": 0.1,
    "decoder_start_token_id": 1, "forced_eos_token_id": None,
}  # fmt: skip
T5 = {"d_model": 64, "d_ff": 96, "d_kv": 16, "num_heads": 4, "num_layers": 2, "relative_attention_max_distance": 32}
PATCHES = {**ONE_KV, "image_size": [48, 64], "patch_size": 16, "num_labels": 7}


def _alike(model_types: str, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Model types, by spaces, with the same settings."""
    return dict.fromkeys(model_types.split(), settings)


DECODERS: dict[str, dict[str, Any]] = {
    **_alike(
        "llama mistral qwen2 qwen3 gemma granite olmo olmo2 olmo3 stablelm starcoder2 phi phi3 "
        "glm glm4 exaone4 ernie4_5 ministral ministral3 smollm3 helium nemotron seed_oss apertus "
        "hunyuan_v1_dense arcee bitnet cohere cohere2 cwm diffllama hyperclovax jais2 "
        "nanochat vaultgemma gemma2 gemma3_text internlm3 granite_swa persimmon gpt_neox "
        "gpt_neox_japanese modernbert-decoder iquestcoder",
        SIZES,
    ),
    **_alike(
        "qwen3_moe olmoe qwen2_moe flex_olmo exaone_moe mellum afmoe solar_open",
        {**SIZES, **EXPERTS, "n_routed_experts": 4, "n_group": 1, "topk_group": 1,
         "shared_expert_intermediate_size": 32},
    ),
    **_alike(
        "mixtral granitemoe granitemoeshared phimoe minimax minimax_m2 gpt_oss jetmoe",
        {**SIZES, **LOCAL},
    ),
    "deepseek_v2": {**SIZES, **MLA, **ROUTED},
    "deepseek_v3": {**SIZES, **MLA, **ROUTED},
    "glm4_moe": {**SIZES, **ROUTED},
    "dots1": {**SIZES, **ROUTED},
    "glm4_moe_lite": {**SIZES, **MLA, **ROUTED},
    "youtu": {**SIZES, **MLA},
    "minicpm3": {**SIZES, **MLA},
    "ernie4_5_moe": {**SIZES, "moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 32},
    "hunyuan_v1_moe": {**SIZES, "num_experts": 4, "moe_topk": 2},
    "llama4_text": {**SIZES, **LOCAL, "intermediate_size_mlp": 96},
    "qwen3_5_text": {**SIZES, **LINEAR},
    "qwen3_next": {**SIZES, **LINEAR, **EXPERTS, "shared_expert_intermediate_size": 32},
    "lfm2": {**SIZES, "layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {**SIZES, **EXPERTS, "layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "doge": {**SIZES, "num_experts": 4},
    "falcon_h1": {**SIZES, **MAMBA},
    "mamba": {**SIZES, "state_size": 16},
    "mamba2": {**SIZES, "state_size": 16, "num_heads": 8, "head_dim": 16, "n_groups": 1, "chunk_size": 16},
    "bamba": {**SIZES, **MAMBA, "attn_layer_indices": [1]},
    "jamba": {**SIZES, **EXPERTS, "attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 16,
              "use_mamba_kernels": False},
    "gemma3n_text": {**SIZES, "hidden_size_per_layer_input": 16, "vocab_size_per_layer_input": 331,
                     "num_kv_shared_layers": 0, "laurel_rank": 8,
                     "layer_types": ["sliding_attention", "full_attention"]},
    "gemma4_text": {**SIZES, "hidden_size_per_layer_input": 16, "vocab_size_per_layer_input": 331,
                    "num_kv_shared_layers": 0, "global_head_dim": 16,
                    "layer_types": ["sliding_attention", "full_attention"]},
    "gpt2": OLD, "gptj": {**OLD, "rotary_dim": 8}, "gpt_bigcode": OLD, "codegen": {**OLD, "rotary_dim": 8},
    "openai-gpt": OLD, "ctrl": {**OLD, "dff": 96},
    "gpt_neo": {**SIZES, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]]},
    "xglm": {"d_model": 64, "ffn_dim": 96, "num_layers": 2, "attention_heads": 4, "max_position_embeddings": 128},
    "biogpt": ONE_KV, "opt": {**ONE_KV, "ffn_dim": 96, "word_embed_proj_dim": 64},
    "bloom": {"hidden_size": 64, "n_layer": 2, "n_head": 4}, "falcon": ONE_KV,
    "mpt": {"d_model": 64, "n_heads": 4, "n_layers": 2},
    "rwkv": {**SIZES, "attention_hidden_size": 64}, "xlnet": {"d_model": 64, "n_layer": 2, "n_head": 4, "d_inner": 96},
    "recurrent_gemma": {**SIZES, "lru_width": 64, "block_types": ["recurrent", "attention"]},
    "zamba2": {**SIZES, **MAMBA}, "nemotron_h": {**SIZES, **MAMBA},
    "dbrx": {"d_model": 64, "n_heads": 4, "n_layers": 2},
}  # fmt: skip
ENCODERS: dict[str, dict[str, Any]] = {
    **_alike(
        "bert roberta xlm-roberta xlm-roberta-xl camembert electra albert modernbert nomic_bert "
        "gte jina_embeddings_v3 big_bird convbert data2vec-text deberta ernie esm fnet ibert "
        "layoutlm luke megatron-bert mobilebert mpnet mra nystromformer rembert "
        "roberta-prelayernorm roc_bert roformer squeezebert xmod yoso longformer eurobert tapas",
        ONE_KV,
    ),
    "distilbert": {"dim": 64, "hidden_dim": 96, "n_heads": 4, "n_layers": 2},
    "deberta-v2": {**ONE_KV, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16},
    "xlm": {"emb_dim": 64, "n_layers": 2, "n_heads": 4}, "flaubert": {"emb_dim": 64, "n_layers": 2, "n_heads": 4},
    "funnel": {"d_model": 64, "n_head": 4, "d_head": 16, "d_inner": 96, "block_sizes": [1, 1, 1]},
}  # fmt: skip
SEQ2SEQ: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("t5", "mt5", "umt5", "longt5", "switch_transformers"), T5),
    **_alike(
        "bart marian mbart pegasus m2m_100 blenderbot blenderbot-small plbart mvp pegasus_x "
        "bigbird_pegasus nllb-moe",
        BART,
    ),
    "led": {**BART, "max_encoder_position_embeddings": 128, "max_decoder_position_embeddings": 128,
            "attention_window": 16},
    "prophetnet": {"hidden_size": 64, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96, "num_encoder_layers": 2,
                   "num_decoder_layers": 2,
                   "num_encoder_attention_heads": 4, "num_decoder_attention_heads": 4},
}  # fmt: skip
IMAGES: dict[str, dict[str, Any]] = {
    **_alike(
        "vit deit dinov2 dinov2_with_registers dinov3_vit beit siglip ijepa vit_msn data2vec- "
        "vision clip levit poolformer",
        PATCHES,
    ),
    "swin": {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2],
             "num_labels": 7},
    "convnext": {"image_size": 48, "hidden_sizes": [16, 32], "depths": [1, 1], "num_stages": 2, "num_labels": 7},
    "resnet": {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1], "num_labels": 7},
    "segformer": {"num_labels": 7},
}  # fmt: skip
ARCHITECTURES = {**DECODERS, **ENCODERS, **SEQ2SEQ, **IMAGES}


@dataclass(frozen=True)
class Row:
    """What came of an architecture: by step, ``ok`` or the reason in one line."""

    model_type: str
    cls: str
    kind: str
    outcomes: Mapping[str, str]
    seconds: float = 0.0


STEPS = {"walk": "layer by layer", "int8": "hf int8", "int4": "hf int4", "fuse": "ort-cpu"}
"""What is tried once a model is open, and the title of its column."""


def try_architecture(model_type: str) -> Row:
    """Try everything with a tiny random model of a type."""
    begin, family = time.monotonic(), family_of(model_type)
    outcomes: dict[str, str] = {}
    if family is None:
        return Row(model_type, "", "", {"open": "transformers has no class of a kind that is known here"})
    with tempfile.TemporaryDirectory() as folder:
        try:
            source = save_model(Path(folder) / "source", family.cls, None, **ARCHITECTURES[model_type])
        except Exception as error:  # settings that don't fit each other
            return Row(model_type, family.cls, family.kind.name, {"made": f"{type(error).__name__}: {error}"})
        try:
            path = copy_checkpoint(source, Path(folder) / "model", add_noise_to_vectors)
            model = Model.open(str(path))
            outcomes = {step: outcome(lambda try_it=try_it: try_it(model, path, Path(folder)))  # type: ignore[misc]
                        for step, try_it in TRIES.items()}  # fmt: skip
        except CompressError as error:
            outcomes = {"open": str(error).replace(folder, "").removeprefix("/model").lstrip("/: ")}
    return Row(model_type, family.cls, family.kind.name, outcomes, time.monotonic() - begin)


def outcome(attempt: Callable[[], str | None]) -> str:
    """What came of an attempt: what it says, the reason that it was refused for, or how it failed."""
    try:
        return attempt() or "ok"
    except CompressError as error:
        return str(error)
    except Exception as error:  # a mistake of ours, which the table is to show
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = str(error).partition("\n")[0]
        return f"FAILS: {type(error).__name__}: {text} ({Path(place.filename).name}:{place.lineno})"


def walk_difference(model: Model, path: Path, folder: Path) -> str | None:
    """How far layers that are run one by one are from what they leave in the whole model; None where they aren't."""
    module, outputs, walked = loaded(path, model), [], {}
    for _, layers in stacks(module):
        layers[-1].register_forward_hook(lambda *call: outputs.append(call[2]))
    for block, inputs in walk_blocks(model, read_by(model.kind), Silent()):
        if isinstance(inputs, LayerInputs):
            walked[block.name.rpartition(".")[0]] = inputs.states
    with torch.inference_mode():
        module(**example_inputs(module))
    for states, output in zip(walked.values(), outputs, strict=True):
        expected = output[0] if isinstance(output, tuple) else output
        difference = float((torch.cat(states) - expected).norm() / expected.norm())
        if difference > 1e-4:
            return f"WRONG: layers by themselves differ from the module's by {difference:.2g}"
    return None


def write_variant(model: Model, text: str, folder: Path) -> None:
    """Make a variant for transformers, which has to read it to the same logits."""
    pipeline, target, out = Pipeline.parse(text), find_target("hf"), folder / text.partition(":")[0]
    out.mkdir()
    pipeline = resolve_for_targets(model, pipeline, TargetSet((target,)))
    data = Calibration(read_by(model.kind), "test")
    variant = run_pipeline(model, pipeline, target.capability, out, lambda: data, 0, Silent())
    check_reading(variant, text.partition(":")[0])


def export_graph(model: Model, folder: Path) -> None:
    """Export a graph, which the parity gate holds against torch."""
    pipeline, target = Pipeline.parse("fuse"), find_target("ort-cpu")
    pipeline = resolve_for_targets(model, pipeline, TargetSet((target,)))
    target.export(model, pipeline.graph_passes, folder, Silent())


TRIES: Mapping[str, Callable[[Model, Path, Path], str | None]] = {
    "walk": walk_difference,
    "int8": lambda model, _, folder: write_variant(model, "int8:group=channel", folder),
    "int4": lambda model, _, folder: write_variant(model, "int4:group=32", folder),
    "fuse": lambda model, _, folder: export_graph(model, folder),
}


def main(names: Sequence[str]) -> int:
    """Print what came of each architecture."""
    for name in names or ARCHITECTURES:
        row = try_architecture(name)
        print(f"{name:24} {row.kind:18} {row.seconds:5.1f} s", flush=True)
        for step, text in row.outcomes.items():
            if text != "ok":
                print(f"    {step}: {text[:400]}", flush=True)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    precision.native_bfloat16 = lambda: False  # the walk is held against products in float32
    sys.exit(main(parser.parse_args().names))
