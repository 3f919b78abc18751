"""Settings of a tiny model for each of transformers' architectures, by its ``model_type``."""

from __future__ import annotations

from typing import Any

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
TEXT = {**SIZES, "vocab_size": 331, "model_type": "llama"}
EYES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
        "patch_size": 16}  # fmt: skip
TOWER = {"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "out_hidden_size": 64, "patch_size": 4}
PLANES = {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}}
SEEING: dict[str, dict[str, Any]] = {
    "gemma3": {"text_config": {**SIZES, "vocab_size": 331, "layer_types": ["sliding_attention", "full_attention"]},
               "vision_config": EYES, "mm_tokens_per_image": 4},
    "llava": {"text_config": TEXT, "vision_config": {**EYES, "model_type": "siglip_vision_model"},
              "image_token_index": 330},
    "mistral3": {"text_config": {**TEXT, "model_type": "mistral"}, "vision_config": {**EYES, "model_type": "pixtral"},
                 "image_token_index": 330},
    "smolvlm": {"text_config": TEXT, "vision_config": EYES, "image_token_id": 330},
    "idefics3": {"text_config": TEXT, "vision_config": EYES, "image_token_id": 330},
    "qwen2_5_vl": {"text_config": {**SIZES, **PLANES, "vocab_size": 331}, "vision_config": TOWER},
    "qwen3_vl": {"text_config": {**SIZES, **PLANES, "vocab_size": 331},
                 "vision_config": {**TOWER, "deepstack_visual_indexes": [0]}},
}  # fmt: skip
ARCHITECTURES = {**DECODERS, **SEEING, **ENCODERS, **SEQ2SEQ, **IMAGES}
