"""Which architectures are supported, and how a checkpoint's tensor names become those of the transformers module."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from compress.artifact import Kind
from compress.checkpoint import Checkpoint
from compress.errors import ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

DECODERS = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
"""Model types that generate, with the one class that each may have."""

ENCODERS = {"bert": "BertModel", "roberta": "RobertaModel", "distilbert": "DistilBertModel"}
"""Model types that embed, with the base class that they are loaded as, whatever head they come with."""

_POOLED = ("bert", "roberta")

# Ends of names that old checkpoints store, though the module computes them.
_COMPUTED = ("rotary_emb.inv_freq", "position_ids", "masked_bias", "attn.bias")


@dataclass(frozen=True)
class Architecture:
    """A transformers class and the config that makes it."""

    cls: type[PreTrainedModel]
    config: PretrainedConfig
    kind: Kind
    options: Mapping[str, Any]
    """What the class is called with beside the config."""

    def meta_module(self) -> PreTrainedModel:
        """The module without weights: every tensor on torch's meta device."""
        with quiet_transformers(), torch.device("meta"):
            return self.cls(copy.deepcopy(self.config), **self.options)

    def resized(self, resize: Callable[[PretrainedConfig], None]) -> Architecture:
        """The same with a config that ``resize`` has changed."""
        config = copy.deepcopy(self.config)
        resize(config)
        return replace(self, config=config)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor of the module by its name."""
        return {name: tuple(tensor.shape) for name, tensor in self.meta_module().state_dict().items()}


def check_config(path: Path, trust_remote_code: bool) -> None:
    """A ModelError for a ``config.json`` that is missing, unsupported, already quantized, or brings untrusted code."""
    raw = _read_config(path)
    if quantized := raw.get("quantization_config"):
        method = quantized.get("quant_method", "unknown") if isinstance(quantized, dict) else quantized
        raise ModelError(f"{path} is already quantized ({method}); compress the float checkpoint that it was made from")
    if raw.get("auto_map") and not trust_remote_code:
        raise ModelError(
            f"{path} brings its own code (auto_map in config.json); pass --trust-remote-code to accept that"
        )
    model_type = str(raw.get("model_type"))
    wanted = (raw.get("architectures") or [None])[0]
    if model_type not in ENCODERS and (model_type not in DECODERS or wanted not in (DECODERS[model_type], None)):
        supported = ", ".join([*DECODERS.values(), *(f"{name} (with any head)" for name in ENCODERS.values())])
        raise ModelError(f"{path}: {wanted or model_type} is not supported; supported: {supported}")


def load_module(checkpoint: Checkpoint, built: Architecture, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """The module with a checkpoint's weights, dequantized, for inference: the whole model in memory."""
    from transformers import GenerationConfig

    def read(name: str) -> Tensor:
        return checkpoint.weight(name).dequantize() if len(shapes[name]) == 2 else checkpoint.tensor(name)

    shapes = built.shapes()
    state = {name: read(name) for name in checkpoint.names}
    with quiet_transformers():
        module = built.cls.from_pretrained(None, config=built.config, state_dict=state, dtype=dtype, **built.options)
    if (checkpoint.path / "generation_config.json").is_file():
        module.generation_config = GenerationConfig.from_pretrained(checkpoint.path)
    return module.eval()  # type: ignore[no-any-return]


def head_size(config: PretrainedConfig) -> int:
    """How many channels an attention head has."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def longest_input(config: PretrainedConfig) -> int:
    """How many tokens a model takes in at once; RoBERTa's positions start behind the one of its padding."""
    positions = int(config.max_position_embeddings)
    return positions - config.pad_token_id - 1 if config.model_type == "roberta" else positions


def read_architecture(path: Path, stored: Iterable[str]) -> Architecture:
    """The architecture that a checked ``config.json`` names; a ModelError where transformers finds it invalid.

    An encoder's pooler is left out where ``stored``, the checkpoint's tensor names, has none.
    """
    import transformers  # only where a model is opened: it takes a second that `--help` shouldn't wait for

    try:
        with quiet_transformers():
            config = transformers.AutoConfig.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # transformers has no common class for what a config can be wrong in
        raise ModelError(f"{path / 'config.json'} is no valid config ({first_line(error)})") from error
    known = DECODERS.get(config.model_type) or ENCODERS[config.model_type]
    config.architectures = [known]
    without_pooler = config.model_type in _POOLED and not any("pooler." in name for name in stored)
    return Architecture(
        cls=getattr(transformers, known),
        config=config,
        kind="decoder" if config.model_type in DECODERS else "encoder",
        options={"add_pooling_layer": False} if without_pooler else {},
    )


def any_architecture(path: Path) -> Architecture:
    """The architecture of a ``config.json`` of any model that transformers knows, supported here or not.

    Nothing but its shapes can be told from it. Where the config names no class, it is that of a causal language model,
    or the base model. Raises ModelError for a config that is missing or that transformers can't build a model of.
    """
    import transformers

    raw = _read_config(path)
    if raw.get("model_type") in {**DECODERS, **ENCODERS}:
        return read_architecture(path, ["pooler."])
    try:
        with quiet_transformers():
            config = transformers.AutoConfig.from_pretrained(path, trust_remote_code=False)
        named = getattr(transformers, (config.architectures or [""])[0], None)
        generates = transformers.MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
        cls: Any = named or generates or transformers.MODEL_MAPPING[type(config)]
    except Exception as error:  # as in `read_architecture`
        raise ModelError(
            f"{path / 'config.json'} is no config that transformers knows ({first_line(error)})"
        ) from error
    return Architecture(cls, config, "decoder" if cls is generates else "encoder", {})


def _read_config(path: Path) -> dict[str, Any]:
    file = path / "config.json"
    if not file.is_file():
        raise ModelError(f"{path} is not a checkpoint: it has no config.json")
    try:
        raw = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} can't be read ({error})") from error
    if not isinstance(raw, dict):
        raise ModelError(f"{file} is no config: a JSON object is needed")
    return raw


def stored_names(wanted: Iterable[str], stored: Iterable[str], prefix: str) -> dict[str, str]:
    """For each of the module's tensors the checkpoint's name of it, if it has one.

    The base model's ``prefix`` ("bert", "model") may be there or not on either side, and TensorFlow's old norm names
    ``gamma`` and ``beta`` stand for ``weight`` and ``bias``.
    """
    modern = {_modern(name): name for name in stored}
    found = {}
    for name in wanted:
        for candidate in (name, f"{prefix}.{name}", name.removeprefix(f"{prefix}.")):
            if candidate in modern:
                found[name] = modern[candidate]
                break
    return found


def leftover(stored: Iterable[str], used: Iterable[str]) -> list[str]:
    """The checkpoint's tensors that nothing uses, but for those that every module computes for itself."""
    taken = set(used)
    return [name for name in stored if name not in taken and not name.endswith(_COMPUTED)]


def _modern(name: str) -> str:
    stem, _, last = name.rpartition(".")
    return f"{stem}.{ {'gamma': 'weight', 'beta': 'bias'}.get(last, last) }" if "Norm" in stem else name


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' own bars and log lines off the terminal, and put its settings back afterwards."""
    from transformers.utils import logging as settings

    level, bars = settings.get_verbosity(), settings.is_progress_bar_enabled()
    settings.set_verbosity(logging.ERROR)
    settings.disable_progress_bar()
    try:
        yield
    finally:
        settings.set_verbosity(level)
        if bars:
            settings.enable_progress_bar()


def first_line(error: Exception) -> str:
    """What an error of another library says, cut to one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
