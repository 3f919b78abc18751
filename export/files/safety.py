"""Refuse an artifact whose files would load code, or read what is not in its folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from compress.checkpoint.files.folder import LARGEST_READ
from compress.errors import ModelError
from compress.export.files.genai_config import CONFIG
from compress.system.regular_files import check_file, lies_in, read_json

_OPENED = ("*.onnx", "*.json", "*.jinja", "*.model", "*.txt")
"""Files that runtimes open by their names; what graphs name besides is checked with them."""
_SCALARS = (int, float, str)
_PLAIN = "plain"
"""The rule of JSON's numbers, booleans and strings, and of lists of them."""
_PROVIDERS = {"cpu": {}, "cuda": {"enable_cuda_graph": _PLAIN, "enable_skip_layer_norm_strict_mode": _PLAIN}}
_SESSION = {
    **dict.fromkeys(("log_id", "log_severity_level", "graph_optimization_level"), _PLAIN),
    **dict.fromkeys(("intra_op_num_threads", "inter_op_num_threads"), _PLAIN),
    **dict.fromkeys(("enable_cpu_mem_arena", "enable_mem_pattern"), _PLAIN),
    "provider_options": [_PROVIDERS],
}
_NAMES = ("input_ids", "attention_mask", "position_ids", "past_key_names", "past_value_names", "logits",
          "present_key_names", "present_value_names")  # fmt: skip
_SHAPE = ("head_size", "hidden_size", "num_attention_heads", "num_hidden_layers", "num_key_value_heads")
_DECODER = {
    **dict.fromkeys((*_SHAPE, "filename"), _PLAIN),
    **dict.fromkeys(("inputs", "outputs"), dict.fromkeys(_NAMES, _PLAIN)),
    "session_options": _SESSION,
}
_SEARCH = ("diversity_penalty", "do_sample", "early_stopping", "length_penalty", "max_length", "min_length",
           "no_repeat_ngram_size", "num_beams", "num_return_sequences", "past_present_share_buffer",
           "repetition_penalty", "temperature", "top_k", "top_p")  # fmt: skip
_MODEL = {
    **dict.fromkeys(("type", "context_length", "vocab_size"), _PLAIN),
    **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), _PLAIN),
    "decoder": _DECODER,
}
_RULES = {"model": _MODEL, "search": dict.fromkeys(_SEARCH, _PLAIN)}
"""What `write_genai_config` writes: onnxruntime-genai knows settings besides that load libraries and other files."""


def check_artifact(folder: Path) -> None:
    """Raise ModelError for an artifact that could read other files than its own, wait for a pipe, or load code.

    What its files may be is `regular_files.refusal`'s; graphs keep their data in the folder, and ``genai_config.json``
    says no more than `write_genai_config` writes.
    """
    for file in sorted(file for pattern in _OPENED for file in folder.glob(pattern)):
        check_file(file)
        if file.suffix != ".onnx" and file.stat().st_size > LARGEST_READ:
            raise ModelError(f"{file} is larger than {LARGEST_READ >> 20} MiB; this artifact isn't safe to run")
    for graph in sorted(folder.glob("*.onnx")):
        _check_graph(graph)
    if os.path.lexists(folder / CONFIG):
        _check_genai_config(folder / CONFIG)


def _check_graph(file: Path) -> None:
    """Refuse external data outside the graph's folder, also by links: a runtime may read any file as weights."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(file, load_external_data=False)
    except (OSError, DecodeError) as error:
        raise ModelError(f"{file} is no graph that can be read ({error}); export the variant again") from error
    for location in sorted(_locations(model)):
        data = file.parent / location
        if not lies_in(data, file.parent):
            raise ModelError(f"{file} reads {location!r}, which is outside its folder; this artifact isn't safe to run")
        if os.path.lexists(data):
            check_file(data, file.parent)


def _locations(message: object) -> Iterator[str]:
    """Files of every tensor in a message, wherever it is in there."""
    import onnx
    from google.protobuf.message import Message

    if isinstance(message, onnx.TensorProto):
        yield from {entry.value for entry in message.external_data if entry.key == "location"}
    elif isinstance(message, Message):
        for field, value in message.ListFields():
            if field.message_type is not None:
                for part in [value] if isinstance(value, Message) else value:
                    yield from _locations(part)


def _check_genai_config(file: Path) -> None:
    try:
        config = read_json(file, unique=True)
    except ModelError as error:
        raise ModelError(f"{error}; export the variant again") from error
    if foreign := next(_foreign(config, _RULES, ""), None):
        raise ModelError(
            f"{file} sets {foreign}, which `compress export` doesn't write and which may load code; remove it, or "
            "export the variant again"
        )
    name = str(config.get("model", {}).get("decoder", {}).get("filename", ""))
    if name != Path(name).name:
        raise ModelError(f"{file} names the graph {name!r}, which is outside its folder; export the variant again")
    if name and Path(name).suffix != ".onnx":
        raise ModelError(f"{file} names the graph {name!r}, which is no .onnx file; export the variant again")


def _foreign(value: object, rule: object, where: str) -> Iterator[str]:
    """Where a value has what its rule doesn't have: keys of an object, or something of another type."""
    if isinstance(rule, Mapping) and isinstance(value, Mapping):
        for key, part in value.items():
            path = f"{where}.{key}" if where else str(key)
            yield from _foreign(part, rule[key], path) if key in rule else (path,)
    elif isinstance(rule, list) and isinstance(value, list):
        for part in value:
            yield from _foreign(part, rule[0], where)
    elif rule is not _PLAIN or not _is_plain(value):
        yield where or "no object"


def _is_plain(value: object) -> bool:
    return all(isinstance(part, _SCALARS) for part in (value if isinstance(value, list) else [value]))
