"""Write a decoder's checkpoint as a GGUF file, in the names, metadata and layouts of llama.cpp's ``conversion/``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PretrainedConfig

from compress.checkpoint.base import Checkpoint
from compress.errors import ExportError
from compress.escape import printable
from compress.export.gguf.blocks import Blocks, blocks
from compress.export.gguf.tokenizer import add_tokenizer
from compress.modeling.architecture import head_size
from compress.modeling.classifier import is_classifier_class
from compress.modeling.rotations import rotary_width
from compress.system.leftovers import name_in_place
from compress.weights.forms import Dense, Quantized, Weight

if TYPE_CHECKING:
    import gguf


@dataclass(frozen=True)
class GgufFamily:
    """llama.cpp's name of a model type, and whether its rotary embedding pairs neighboring channels."""

    architecture: str
    interleaved_rope: bool


GGUF_FAMILIES = {
    "llama": GgufFamily("llama", True),
    "mistral": GgufFamily("llama", True),
    "qwen2": GgufFamily("qwen2", False),
    "qwen3": GgufFamily("qwen3", False),
}
"""Families that llama.cpp reads here, by transformers' model type."""
_ACTIVATIONS = ("silu", "swish")
"""Names of the one activation that llama.cpp computes whatever a file says."""


def unsupported_reason(config: PretrainedConfig) -> str | None:
    """Say why a model can't be written as GGUF here; None where it can."""
    if config.model_type not in GGUF_FAMILIES:
        return f"{config.model_type} models; llama.cpp's {', '.join(GGUF_FAMILIES)} are written here"
    if is_classifier_class(class_name := (config.architectures or [""])[0]):
        return f"a {class_name}; models that write text are written here"
    if (rope_type := config.rope_parameters["rope_type"]) != "default":
        return f"rotary embeddings of the type {rope_type}; plain ones are written here"
    size, width = head_size(config), rotary_width(config)
    if width != size:
        return f"rotary embeddings of {width} of a head's {size} channels; llama.cpp rotates all of them"
    if config.hidden_act not in _ACTIVATIONS:
        return f"the activation {config.hidden_act}; llama.cpp computes {_ACTIVATIONS[0]} in these families"
    has_biases = config.model_type == "qwen2" or getattr(config, "attention_bias", False)
    if has_biases and config.model_type == "qwen3":
        return "biases of attention; llama.cpp's qwen3 has none"
    if has_biases and size * config.num_attention_heads != config.hidden_size:
        return f"biases of heads of {size} channels; {config.hidden_size // config.num_attention_heads} are needed"
    return None


def write_gguf(checkpoint: Checkpoint, file: Path, tokenizer: bool = True) -> str | None:
    """Write a checkpoint's tensors in the type of blocks that each has, with a ``tokenizer`` or to be fed token ids.

    Why there is no tokenizer in it is returned, where one was wanted. Raises ExportError where an architecture has no
    place in GGUF, or a tensor no name.
    """
    import gguf

    config = checkpoint.config
    if reason := unsupported_reason(config):
        raise ExportError(f"{checkpoint.path}: gguf can't hold {reason}")
    # what was added so far waits in a file, not in memory
    writer = gguf.GGUFWriter(file, GGUF_FAMILIES[config.model_type].architecture, use_temp_file=True)
    try:
        _add_sizes(writer, checkpoint)
        missing = add_tokenizer(writer, checkpoint.path, config.vocab_size) if tokenizer else None
        if not tokenizer or missing:
            writer.add_tokenizer_model("none")
        counts: Counter[str] = Counter()
        for name, encoded in tensors(checkpoint):
            counts[encoded.tensor_type] += encoded.values.numel()
            writer.add_tensor(name, encoded.data, raw_dtype=gguf.GGMLQuantizationType[encoded.tensor_type])
        most = counts.most_common(1)[0][0]
        writer.add_file_type(gguf.LlamaFileType["ALL_F32" if most == "F32" else f"MOSTLY_{most}"])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
    return missing


def tensors(checkpoint: Checkpoint) -> Iterator[tuple[str, Blocks]]:
    """Yield every tensor under llama.cpp's name, its rows in the order of llama.cpp's rotary embedding."""
    import gguf

    config = checkpoint.config
    family = GGUF_FAMILIES[config.model_type]
    architecture = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == family.architecture)
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    heads = (
        {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads} if family.interleaved_rope else {}
    )
    for name in checkpoint.names:
        gguf_name = names.get_name(name, (".weight", ".bias"))
        if gguf_name is None:
            raise ExportError(f"{checkpoint.path}: llama.cpp has no name for {name}")
        encoded = _encode(checkpoint, name)
        if count := heads.get(name.split(".")[-2]):
            encoded = _permuted(encoded, count)
        yield gguf_name, encoded


def interleaved(weight: Tensor, heads: int) -> Tensor:
    """Interleave the halves of each head, rows ``[heads · size, …]``: channel i next to i + size/2, as in llama.cpp.

    transformers rotates the halves of a head against each other, llama.cpp neighbors.
    """
    return weight.reshape(heads, 2, -1, *weight.shape[1:]).transpose(1, 2).reshape(weight.shape)


def _encode(checkpoint: Checkpoint, name: str) -> Blocks:
    """A tensor as it is stored; vectors always as float32, since llama.cpp adds and multiplies with nothing else."""
    weight: Weight | None = checkpoint.weight(name) if name.endswith("weight") else None
    if weight is None or (isinstance(weight, Dense) and weight.tensor.dim() == 1):
        vector = checkpoint.tensor(name).float()
        return Blocks("F32", vector.numpy(), vector)
    assert isinstance(weight, Dense | Quantized)
    return blocks(weight)


def _permuted(encoded: Blocks, heads: int) -> Blocks:
    data: NDArray[np.uint8] = interleaved(torch.from_numpy(encoded.data), heads).numpy()
    return replace(encoded, data=data, values=interleaved(encoded.values, heads))


def _add_sizes(writer: gguf.GGUFWriter, checkpoint: Checkpoint) -> None:
    """The architecture's sizes. llama.cpp has no sliding window in these families: contexts end where one would begin
    to slide."""
    import gguf

    config = checkpoint.config
    size = head_size(config)
    window = getattr(config, "sliding_window", None) or config.max_position_embeddings
    writer.add_name(printable(name_in_place(checkpoint.path)))
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(min(config.max_position_embeddings, window))
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
