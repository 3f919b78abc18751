"""Names in ONNX graphs and of the files around them: domains, providers, caches, and operators' slots."""

MODEL_FILE, DATA_FILE = "model.onnx", "model.onnx.data"
"""A graph, and the one file beside it that holds its tensors."""
LAST_TOKEN_FILE = "model_last_token.onnx"
"""A decoder's graph that gives the logits of the last token alone, over the same tensors."""
ENCODER, DECODER = "encoder_model.onnx", "decoder_model_merged.onnx"
"""The files of an encoder-decoder's two graphs, as optimum names them."""
ENGINE_FILE = "engine.plan"
"""The engine that TensorRT builds of a graph."""
CONTRIB_DOMAIN = "com.microsoft"
"""The domain of onnxruntime's own operators (see its ContribOperators)."""
CPU_PROVIDER, CUDA_PROVIDER = "CPUExecutionProvider", "CUDAExecutionProvider"
"""onnxruntime's names of the CPU and of a GPU of NVIDIA's."""

SENTENCE_OUTPUT = "sentence_embedding"
"""A sentence encoder's output beside its hidden states, as sentence-transformers calls it."""

PAST_PREFIX, PRESENT_PREFIX = "past_key_values.", "present."
"""Prefixes of the inputs and outputs by which a decoder's cache comes in and leaves."""

PAST, PRESENT, SCALES = (3, 4), (1, 2), (12, 13)
"""GroupQueryAttention: inputs of keys and values, outputs that they leave by, inputs of their scales."""
LENGTHS, TABLES = 5, (7, 8)
"""GroupQueryAttention: the input that says where each text's last token lies, counted from 0; and the rotary tables."""
HEAD_MULTIPLE, ROTATED_MULTIPLE = 8, 16
"""GroupQueryAttention: what divides the size of heads that it takes; and the size and rotated width of those that it
rotates. Source: onnxruntime's ``group_query_attention_helper.h``."""
QUANT_TYPES, BIT_WIDTH = ("k_quant_type", "v_quant_type"), "kv_cache_bit_width"
"""GroupQueryAttention: the attributes that an int8 cache has."""
SCALE = ".scale"
"""Suffix of a scale's name, after the input that it scales."""


def past_name(layer: int | str, part: str, side: str = "") -> str:
    """The input with a layer's keys or values (``part``); ``side`` is encoder or decoder where there are both.

    A ``layer`` ``%d`` gives the pattern of all of them.
    """
    return f"{PAST_PREFIX}{layer}.{side}{'.' if side else ''}{part}"


def present_name(layer: int | str, part: str, side: str = "") -> str:
    """The output with a layer's keys or values, as in `past_name`."""
    return to_present(past_name(layer, part, side))


def to_present(past: str) -> str:
    """The name of the cache output that belongs to a cache input."""
    return past.replace(PAST_PREFIX, PRESENT_PREFIX, 1)


def to_past(present: str) -> str:
    """The name of the cache input that belongs to a cache output."""
    return present.replace(PRESENT_PREFIX, PAST_PREFIX, 1)
