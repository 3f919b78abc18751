"""A Llama checkpoint as a GGUF file: what llama.cpp's own quantizer starts from."""

from __future__ import annotations

from pathlib import Path

import gguf
from torch import Tensor

from compress.errors import RunError
from compress.model import Model


def write_gguf(model: Model, file: Path) -> None:
    """Write a model's weights in float32, without a tokenizer: it is fed token ids.

    Names and figures are those of llama.cpp's ``conversion/llama.py``. Raises RunError for what it isn't written for.
    """
    config = model.config
    rope = config.rope_parameters
    if config.model_type != "llama" or rope["rope_type"] != "default":
        raise RunError(f"{model.path}: only Llama checkpoints with plain rotary embeddings become GGUF here")
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("none")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name in model.names:
        tensor = model.tensor(name).float()
        layer = name.split(".")[-2]
        if layer in heads:
            tensor = interleaved(tensor, heads[layer])
        known = names.get_name(name, (".weight", ".bias"))
        if known is None:
            raise RunError(f"{model.path}: llama.cpp has no name for {name}")
        writer.add_tensor(known, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def interleaved(weight: Tensor, heads: int) -> Tensor:
    """Rows ``[heads · size, …]`` in the order that llama.cpp rotates: channel i beside channel i + size/2.

    transformers rotates the halves of a head against each other, llama.cpp neighbours.
    """
    return weight.reshape(heads, 2, -1, *weight.shape[1:]).transpose(1, 2).reshape(weight.shape)
