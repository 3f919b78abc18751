"""Checks of an architecture before any work: settings that transformers doesn't look at, and whether it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from compress.errors import ModelError
from compress.modeling.architecture import Architecture, longest_input
from compress.modeling.classifier import is_token_classifier
from compress.modeling.position_buckets import unbiased_reason
from compress.modeling.quiet import first_line

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from compress.modeling.kinds import TaskKind

_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""Types that transformers makes modules in."""
_LEAST_TOKENS = 4
"""Tokens that a model takes in at least: a text, and some more with a cache."""


def check_settings(file: Path, config: PretrainedConfig, kind: TaskKind) -> None:
    """Refuse what transformers doesn't look at before it runs, of a model of some ``kind``.

    A dtype, room for tokens, the first to decode, biases by distance, and a decoder that looks ahead. ``file`` has the
    config. Raises ModelError.
    """
    if config.dtype not in (None, *_DTYPES):
        raise ModelError(f"{file}: dtype is {config.dtype}; float32, float16, bfloat16 or float64 is needed")
    if (longest := longest_input(config)) < _LEAST_TOKENS:
        raise ModelError(
            f"{file}: by its positions the model takes in {max(longest, 0)} tokens at once; {_LEAST_TOKENS} are needed"
        )
    start = getattr(config, "decoder_start_token_id", None) if config.is_encoder_decoder else None
    if start is not None and not 0 <= start < config.vocab_size:
        raise ModelError(f"{file}: decoder_start_token_id is {start}, and there are {config.vocab_size} tokens")
    if reason := unbiased_reason(config):
        raise ModelError(f"{file}: {reason}")
    if kind.is_decoder_only and (setting := _looks_ahead(config)):
        raise ModelError(
            f"{file}: by {setting} tokens see those that follow them, and such a model writes no text; what it is used "
            "for, a sentence encoder, has a modules.json"
        )


def check_buildable(path: Path, architecture: Architecture) -> None:
    """Raise a ModelError for an architecture that transformers can't build the module of, or can't run.

    ``path`` has its config.
    """
    file = path / "config.json"
    try:
        failure, counts = architecture.dry_run.failure, architecture.outline.layer_counts
    except ModelError as error:
        raise ModelError(f"{file}: {error}") from error
    except Exception as error:  # whatever a size, an activation or a rope type that there isn't leads to
        if _builds(architecture):
            raise not_one_stack(file, architecture.class_name) from error
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise ModelError(f"{file}: transformers can't build a {architecture.class_name} of it ({reason})") from error
    if architecture.kind.is_seq2seq and not all(counts.values()):
        raise ModelError(f"{file}: an encoder or a decoder without layers is not supported")
    if failure is not None:
        raise ModelError(f"{file}: transformers can't run a {architecture.class_name} of it ({failure})")


def not_one_stack(file: Path, class_name: str) -> ModelError:
    """Refusal of a model whose config ``file`` is of several parts."""
    return ModelError(
        f"{file}: a {class_name} isn't one stack of layers behind one embedding, as compress reads models; give the "
        "config.json of a part of it that is"
    )


def check_padding(path: Path, architecture: Architecture) -> None:
    """Raise a ModelError for a decoder that classifies whole texts without a token for padding.

    It reads the label off the last token that isn't one, and transformers takes only one text at a time without.
    """
    padding = getattr(architecture.config, "pad_token_id", None)
    if padding is None and not is_token_classifier(architecture.class_name):
        raise ModelError(
            f"{path / 'config.json'}: a {architecture.class_name} needs a pad_token_id, behind whose tokens texts end"
        )


def _looks_ahead(config: PretrainedConfig) -> str | None:
    """The setting by which tokens see those that follow them; None where they don't."""
    if getattr(config, "use_bidirectional_attention", False):
        return "use_bidirectional_attention"
    return None if getattr(config, "is_causal", True) else "is_causal"


def _builds(architecture: Architecture) -> bool:
    """Whether transformers builds the module, whatever it is made of."""
    try:
        architecture.meta_module()
    except Exception:  # as many as there are classes
        return False
    return True
