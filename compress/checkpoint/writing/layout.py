"""Layout of a variant's checkpoint: the tensors of its matrices, its config, and whether transformers loads them.

What transformers loads is asked of transformers itself, on torch's meta device: before the work of a prediction, and
after it of what was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from compress.formats.base import CheckpointFormat
from compress.modeling.architecture import Architecture
from compress.modeling.transformers_private import load_on_meta
from compress.weights.forms import Dense, Factored, Pivoted, Quantized, Residual, Weight
from compress.weights.stored import PER_CHANNEL, StoredForm

UNREADABLE = {"quant_method": "compressed-tensors", "config_groups": "not for transformers; see README.md"}
"""A ``quantization_config`` that every class of transformers refuses with an error in which this can be read.

Without one, a checkpoint whose tensors have other names loads with random numbers in their place.
"""
_NOT_ALONG = ("_name_or_path", "auto_map", "custom_pipelines", "transformers_weights")
"""Settings that a variant leaves out: a path of this machine, files that only the original has, code for its class.

The class is always transformers' own."""


@dataclass(frozen=True)
class Problem:
    """Reason why transformers can't load a checkpoint, worded to follow "transformers can't load".

    ``says_so``: it refuses such a checkpoint with an error that tells of the shapes; others may read it.
    """

    reason: str
    says_so: bool = False

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True)
class Layout:
    """Layout of the checkpoint of a variant with that architecture, in that format.

    Loaders can't tie compressed weights, so a tied matrix that is quantized is stored under both of its names and the
    config says untied.
    """

    architecture: Architecture
    format: CheckpointFormat

    @cached_property
    def linears(self) -> tuple[str, ...]:
        """The linears' weights of the class as its loader makes it: with a pooler that the checkpoint may lack.

        And of what only has a linear's class, which loaders take for one as well.
        """
        outline = replace(self.architecture, options={}).outline
        return outline.linears + outline.unusual_linears

    @cached_property
    def _heads(self) -> dict[str, str]:
        # An encoder-decoder's table has more than two names, and some of these classes tie whatever the config says.
        twice = self.architecture.tied and self.architecture.kind.is_decoder_only
        return {source: head for head, source in self.architecture.outline.tied.items()} if twice else {}

    def written_names(self, name: str, form: StoredForm) -> list[str]:
        """The names that a matrix is stored under."""
        twice = name in self._heads and form.form == "quantized"
        return [name, self._heads[name]] if twice else [name]

    def tensors(self, name: str, weight: Weight) -> dict[str, Tensor]:
        """The checkpoint's tensors of a matrix ``[out, in]``, by name."""
        if isinstance(weight, Dense):
            return {name: self.architecture.to_stored_layout(name, weight.tensor).contiguous()}
        encoded: dict[str, Tensor] = {}
        for written in self.written_names(name, StoredForm.of(weight)):
            is_expert = name in self.architecture.outline.expert_weights
            encoded |= self.format.encode(written, weight, written in self.linears, is_expert)
        return encoded

    def config(self, forms: Mapping[str, StoredForm]) -> dict[str, Any]:
        """The ``config.json``; its ``dtype`` is that of the model that it was made from."""
        written = {key: form for name, form in forms.items() for key in self.written_names(name, form)}
        config: dict[str, Any] = self.architecture.config.to_diff_dict()
        for key in _NOT_ALONG:
            config.pop(key, None)
        if written.keys() & set(self._heads.values()):
            config["tie_word_embeddings"] = False
            for part in self.architecture.config.sub_configs:
                if getattr(self.architecture.config, part) is self.architecture.text_config:
                    config[part]["tie_word_embeddings"] = False
        quantization = self.format.config(written, self.linears, self.architecture.outline.expert_weights)
        if quantization is not None:
            config["quantization_config"] = quantization
        return config

    def problem(self, forms: Mapping[str, StoredForm], tensors: Mapping[str, Tensor] | None = None) -> Problem | None:
        """Reason why transformers can't load a checkpoint of such matrices and tensors; None where it can.

        Of the ``tensors``, names, shapes and types count; by default they are those that the forms predict. A format
        whose loader is another package is taken at its word.
        """
        if self.format.required_packages:
            return None
        if problem := self._form_problem(forms):
            return problem
        tensors = self._predicted_tensors(forms) if tensors is None else tensors
        loading = load_on_meta(self.architecture.cls, self.config(forms), tensors)
        if loading.error is not None:
            return Problem(f"its matrices as they are stored ({loading.error})")
        stray = sorted(loading.unexpected) + sorted(loading.missing & forms.keys())
        if stray:
            return Problem(f"{stray[0]}, of which {self.architecture.class_name} has no place" + _more(len(stray) - 1))
        if misshapen := sorted(loading.misshapen):
            reason = (
                f"{misshapen[0]} as it is stored, in another shape than transformers {version('transformers')} expects"
            )
            # Zero points are as the library has them, and vLLM reads them so.
            says_so = all(name.endswith("_zero_point") for name in misshapen)
            return Problem(reason + _more(len(misshapen) - 1), says_so)
        return None

    def _form_problem(self, forms: Mapping[str, StoredForm]) -> Problem | None:
        """Reason why transformers can't load such matrices that its loader doesn't tell; None where there is none."""
        if any(form.parts for form in forms.values()):
            return Problem("products (`….left.weight` times `….right.weight`)")
        outline, model_type = self.architecture.outline, self.architecture.config.model_type
        integers = [name for name, form in forms.items() if form.form == "quantized"]
        if outline.nonstandard_linear and any(map(outline.in_layer, integers)):
            return Problem(f"integers of a {outline.nonstandard_linear}, as the linears of a {model_type} are")
        embedding = forms.get(outline.embedding or "")
        if self.architecture.kind.is_seq2seq and embedding is not None and embedding.form == "quantized":
            return Problem("an embedding in integers that an encoder and a decoder share")
        return None

    def _predicted_tensors(self, forms: Mapping[str, StoredForm]) -> dict[str, Tensor]:
        """The tensors of a whole checkpoint without their numbers, on the meta device, as the forms predict them."""
        outline = self.architecture.outline
        tensors: dict[str, Tensor] = {}
        for name in outline.names:
            if name in forms:
                tensors |= self.tensors(name, _weight_of_form(forms[name]))
            elif not (self.architecture.not_saved(name) or self.architecture.computed_on_load(name)):
                tensors[name] = torch.empty(outline.stored_shape(name), device="meta")
        return tensors


def _more(count: int) -> str:
    return f" (and {count} more)" if count else ""


def _weight_of_form(form: StoredForm) -> Weight:
    """A weight of a form, its numbers on the meta device."""
    if form.parts:
        left, right = (_leaf_of_form(form.parts[part]) for part in ("left", "right"))
        if form.pivoted:
            return Pivoted(left, right, torch.empty(form.shape[0], dtype=torch.int32, device="meta"))
        product = Factored(left, right)
        if form.form == "factored":
            return product
        base = _leaf_of_form(form.parts["base"])
        assert isinstance(base, Quantized)
        return Residual(base, product)
    return _leaf_of_form(form)


def _leaf_of_form(form: StoredForm) -> Dense | Quantized:
    rows, features = form.shape
    if form.form == "dense":
        return Dense(torch.empty(form.shape, device="meta"))
    assert form.bits is not None and form.group is not None
    group = features if form.group == PER_CHANNEL else form.group
    codes = torch.empty(form.shape, dtype=torch.int8, device="meta")
    scale = torch.empty(rows, features // group, device="meta")
    zeros = None if form.symmetric else torch.empty_like(scale, dtype=torch.int8)
    return Quantized(codes, scale, form.bits, group, zeros, form.act)
