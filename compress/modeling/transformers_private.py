"""Private API of transformers, all of it that is used: an upgrade that breaks something breaks this file."""

from __future__ import annotations

import importlib
import inspect
import io
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import cache, partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from compress.modeling.quiet import first_line, quiet_transformers

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


_EXPERT = re.compile(r"experts\.\*\.(\w+)\.weight")
_FROM_PADDING = "create_position_ids_from_input_ids"


@contextmanager
def on_meta() -> Iterator[None]:
    """Inside, modules are made on torch's meta device, and nothing is initialized or tied.

    Drawing numbers that are nowhere stored takes ten times as long as all else. `PreTrainedModel.tie_weights` ties.
    """
    from transformers.initialization import no_init_weights  # here: importing transformers takes a second

    with quiet_transformers(), torch.device("meta"), no_init_weights():
        yield


def init_module(model: PreTrainedModel, part: nn.Module) -> None:
    """Fill what one module of a model holds as transformers does: buffers that it computes, weights that it draws."""
    model._init_weights(part)


def computed_on_load(cls: type[PreTrainedModel]) -> tuple[str, ...]:
    """Regular expressions for the tensors that a class makes itself where a checkpoint lacks them."""
    return tuple(cls._keys_to_ignore_on_load_missing or ())


def not_saved(cls: type[PreTrainedModel]) -> tuple[str, ...]:
    """The tensors that a class leaves out of the checkpoints that it writes."""
    return tuple(cls._keys_to_ignore_on_save or ())


def renaming(model: PreTrainedModel) -> Callable[[str], str]:
    """A function from a tensor's name in a checkpoint, new or old, to what a model calls it.

    What transformers makes one tensor of several for keeps its name: experts are read one by one here.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming

    steps = [step for step in get_model_conversion_mapping(model) if isinstance(step, WeightRenaming)]

    def renamed(name: str) -> str:
        for step in steps:
            name = step.rename_source_key(name)[0]
        return name

    return renamed


ExpertNames = tuple[str, str, str]
"""Names of an expert's gate, up and down projection."""


def expert_names(model: PreTrainedModel) -> ExpertNames | None:
    """What checkpoints of a model call an expert's gate, up and down projection; None where they are one tensor."""
    from transformers.conversion_mapping import get_model_conversion_mapping

    sources = {
        step.target_patterns[0].rpartition("experts.")[2]: [_EXPERT.search(name) for name in step.source_patterns]
        for step in get_model_conversion_mapping(model)
        if "experts." in step.target_patterns[0]
    }
    matches = [match[1] for part in ("gate_up_proj", "down_proj") for match in sources.get(part, ()) if match]
    return (matches[0], matches[1], matches[2]) if len(matches) == 3 else None


def unusual_experts_reason(experts: Any) -> str | None:
    """Say what sets a layer's experts, in one module, apart from gated MLPs ``down(act(gate(x)) * up(x))``; or None."""
    from transformers.integrations import moe

    if getattr(experts, "has_bias", True):
        return "have biases"
    if not experts.has_gate or experts.is_transposed or not experts.is_concatenated or experts.has_post_expert_norm:
        return "are laid out in another way than gate, up and down projections"
    return None if type(experts)._apply_gate is moe._default_apply_gate else "have a gate of their own"


@cache
def follows_padding(config_module: str) -> bool:
    """Whether positions of the models with that module's config start behind that of their padding, as RoBERTa's do."""
    try:
        models = importlib.import_module(config_module.replace(".configuration_", ".modeling_"))
    except ModuleNotFoundError:  # a type whose models are another one's
        return False
    return any(hasattr(part, _FROM_PADDING) for part in (models, *vars(models).values()))


def supports_attention_backend(cls: type[PreTrainedModel]) -> bool:
    """Whether a class computes its attention by a function that can be registered."""
    return bool(cls._supports_attention_backend)


@contextmanager
def attention_backend(
    model: PreTrainedModel, name: str, attend: Callable[..., object], mask: Callable[..., object]
) -> Iterator[None]:
    """Inside, a model's attention is ``attend`` and its masks are those of ``mask``, registered as ``name``.

    A model that supports no such backend computes its own attention, eagerly.
    """
    from transformers import AttentionInterface, AttentionMaskInterface

    before = model.config._attn_implementation
    AttentionInterface.register(name, attend)
    AttentionMaskInterface.register(name, mask)
    model.config._attn_implementation = name if supports_attention_backend(type(model)) else "eager"
    try:
        yield
    finally:
        model.config._attn_implementation = before
        for interface in (AttentionInterface, AttentionMaskInterface):
            interface._global_mapping.pop(name, None)


def t5_position_buckets(distances: Tensor, count: int, longest: int, both_sides: bool) -> Tensor:
    """Bucket of T5's position bias for each distance in tokens of a key from its query: int64, shaped as ``distances``.

    There are ``count`` buckets; distances from ``longest`` on share the last. Keys ahead of their queries have half of
    the buckets where ``both_sides`` are told apart (an encoder's), and are all in the first otherwise (a decoder's).
    """
    from transformers.models.t5.modeling_t5 import T5Attention

    buckets: Tensor = T5Attention._relative_position_bucket(
        distances, bidirectional=both_sides, num_buckets=count, max_distance=longest
    )
    return buckets


def rotary_embeddings(model: nn.Module) -> list[nn.Module]:
    """The modules of a model that compute the angles of its rotations."""
    names = {child: [name for name, _ in child.named_buffers(recurse=False)] for child in model.modules()}
    return [child for child, buffers in names.items() if any(name.endswith("inv_freq") for name in buffers)]


def rotary_module(cls: type[PreTrainedModel], config: PretrainedConfig) -> nn.Module | None:
    """The module that computes the angles of a class's rotations, with its numbers; None where nothing is rotated."""
    classes = vars(sys.modules[cls.__module__]).items()
    make = next((value for name, value in classes if name.endswith("RotaryEmbedding")), None)
    with quiet_transformers():
        return None if make is None else make(config)


def reset_rotations(model: nn.Module) -> None:
    """Give rotations whose angles grow with the longest text so far the angles that they had at first."""
    for rotary in rotary_embeddings(model):
        for name, buffer in list(rotary.named_buffers(recurse=False)):
            if name.endswith("original_inv_freq"):
                rotary.register_buffer(name.replace("original_inv_freq", "inv_freq"), buffer.clone(), persistent=False)
        for name in [name for name in vars(rotary) if name.endswith("max_seq_len_cached")]:
            setattr(rotary, name, rotary.original_max_seq_len)


def forget_lengths(model: nn.Module) -> None:
    """Let dynamic rotations compute the angles of each call from that call alone, without a branch, to be traced."""
    for rotary in rotary_embeddings(model):
        rotary.forward = partial(_forward_from_call, rotary)


def _forward_from_call(
    rotary: Any, x: Tensor, position_ids: Tensor, layer_type: str | None = None
) -> tuple[Tensor, Tensor]:
    """Cosines and sines ``[b, s, width]`` of positions ``[b, s]``, by a rotation's own code on frequencies of now."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    of_layer = (layer_type,) if layer_type else ()
    kind = rotary.rope_type[layer_type] if layer_type else rotary.rope_type
    if "dynamic" not in kind:
        angles: tuple[Tensor, Tensor] = type(rotary).forward(rotary, x, position_ids, *of_layer)
        return angles
    length = position_ids.max() + 1
    frequencies, scaling = ROPE_INIT_FUNCTIONS[kind](rotary.config, x.device, seq_len=length, layer_type=layer_type)
    prefix = f"{layer_type}_" if layer_type else ""
    stateless = SimpleNamespace(**{f"{prefix}inv_freq": frequencies, f"{prefix}attention_scaling": scaling})
    angles = inspect.unwrap(type(rotary).forward)(stateless, x, position_ids, *of_layer)
    return angles


@contextmanager
def quiet_compressed_tensors() -> Iterator[None]:
    """Keep the bars that compressed-tensors draws on standard error off the terminal, and its lines out of every log.

    It logs through loguru, and what it can't match (the head of a model whose head is tied) through Python's logging.
    """
    from loguru import logger

    lines = logging.getLogger("compressed_tensors")
    level = lines.level
    logger.disable(lines.name)
    lines.setLevel(logging.CRITICAL)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        lines.setLevel(level)
        logger.enable(lines.name)


@dataclass(frozen=True)
class Loading:
    """Report of loading a checkpoint: names that have no tensor, tensors that have no place, and those of other shapes.

    ``error``: what transformers raises instead; None where it loads.
    """

    missing: frozenset[str] = frozenset()
    unexpected: frozenset[str] = frozenset()
    misshapen: frozenset[str] = frozenset()
    error: str | None = None


def load_on_meta(cls: type[PreTrainedModel], settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Loading:
    """Load a checkpoint's ``tensors``, with a config of those ``settings``, on torch's meta device.

    It is transformers' own ``from_pretrained``, quantizer included, without its search for files: names, shapes and
    types alone are looked at, so that this takes no memory. With a ``device_map``, that would want accelerate.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.modeling_utils import LoadStateDictConfig
    from transformers.quantizers.auto import get_hf_quantizer

    meta, dtype = {"": torch.device("meta")}, torch.float32
    try:
        with quiet_transformers(), quiet_compressed_tensors(), torch.no_grad():
            config_class: Any = cls.config_class
            settled = config_class.from_dict(dict(settings))
            quantizer, config, _ = get_hf_quantizer(settled, None, None, True, {})
            with ExitStack() as stack:
                for context in cls.get_init_context(dtype, quantizer is not None, False, None):
                    stack.enter_context(context)
                module = cls(config)
                if quantizer is not None:
                    quantizer.preprocess_model(model=module, dtype=dtype)
            conversions: Any = get_model_conversion_mapping(module, None, quantizer)
            options = LoadStateDictConfig(
                ignore_mismatched_sizes=True,
                device_map=meta,
                dtype=dtype,
                dtype_plan=module._get_dtype_plan(dtype),
                hf_quantizer=quantizer,
                weight_mapping=conversions,
            )
            loaded, _ = cls._load_pretrained_model(module, dict(tensors), None, options)
            cls._finalize_model_loading(module, options, loaded)
    except Exception as error:  # whatever its loaders and those of the library raise
        return Loading(error=f"{type(error).__name__}: {first_line(error)}")
    misshapen = frozenset(name for name, *_ in loaded.mismatched_keys)
    return Loading(frozenset(loaded.missing_keys), frozenset(loaded.unexpected_keys), misshapen)
