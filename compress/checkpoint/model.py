"""Open a float checkpoint, check it, and read it one tensor at a time."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from compress.checkpoint.adapter import find_adapter
from compress.checkpoint.base import Checkpoint
from compress.checkpoint.dequantize import dequantized, quantized_by
from compress.checkpoint.files.folder import check_folder, input_files
from compress.checkpoint.files.hashes import sha256
from compress.checkpoint.files.shards import Shards, find_shards
from compress.checkpoint.load import load_module
from compress.checkpoint.locate import DEMO, locate
from compress.checkpoint.sentence.listing import is_sentence_encoder, transformer_folder
from compress.checkpoint.sentence.modules import lowercase, read_sentence_modules
from compress.errors import ModelError
from compress.modeling.architecture import Architecture
from compress.modeling.architecture_checks import check_buildable, check_padding
from compress.modeling.config_architecture import read_architecture
from compress.modeling.config_file import check_config
from compress.modeling.families import is_decoder_type
from compress.modeling.kinds import CLASSIFIER
from compress.modeling.quiet import first_line, quiet_transformers
from compress.modeling.tensor_names import stored_names, unused_tensors
from compress.progress import Progress, Silent
from compress.weights.forms import Dense

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


_NOTEWORTHY = 0.02
"""Share of the weights that is told of where no pass changes them."""


@dataclass(frozen=True)
class Model(Checkpoint):
    """A float checkpoint of a supported architecture. Nothing but headers is read until a tensor is asked for.

    ``source`` is what the user called it, ``path`` its directory, ``stored`` maps the module's names to the
    checkpoint's, in the module's order. ``trusted``: its user accepts code that it brings. ``quantized_by``: the method
    of the integers that its floats were read from, if they were.
    """

    source: str
    shards: Shards
    stored: dict[str, str]
    trusted: bool = False
    quantized_by: str | None = None

    @classmethod
    def open(
        cls,
        source: str | Path,
        trust_remote_code: bool = False,
        progress: Progress | None = None,
        dequantize: bool = False,
    ) -> Model:
        """Find a model and check it: a directory, ``demo:NAME`` or a hub id.

        Raises ModelError for what can't be read, isn't safe to read or isn't supported. ``trust_remote_code`` admits
        pickled weights (read as tensors only) and checkpoints that bring code, which is not run: the class is always
        transformers' own. A LoRA adapter beside the model is merged into it; MissingComponentError where peft is
        missing. With ``dequantize``, a checkpoint that is quantized already is read as floats.
        """
        source, progress = str(source), progress or Silent()
        path = transformer_folder(locate(source, trust_remote_code, progress))
        if dequantize and (method := quantized_by(path)):
            check_config(path, trust_remote_code, dequantize)
            if is_sentence_encoder(path):
                raise ModelError(f"{path}: a sentence encoder that is quantized already can't be read as floats")
            check_folder(path, progress)
            floats = cls._read(source, dequantized(path, trust_remote_code, progress), trust_remote_code, progress)
            return replace(floats, quantized_by=method)
        adapter = find_adapter(path, trust_remote_code, progress)
        model = cls._read(source, path, trust_remote_code, progress)
        if adapter is None:
            return model
        return cls._read(source, adapter.merged(model, model.digest, progress), trust_remote_code, progress)

    @classmethod
    def _read(cls, source: str, path: Path, trust_remote_code: bool, progress: Progress) -> Model:
        """Read the headers of the checkpoint in a directory."""
        embeds = is_sentence_encoder(path)
        check_config(path, trust_remote_code)
        check_folder(path, progress)
        shards = find_shards(path, trust_remote_code, progress)
        architecture = read_architecture(path, shards.where, embeds)
        check_buildable(path, architecture)
        if reason := architecture.outline.closed_experts:
            raise ModelError(f"{path}: a {architecture.class_name} can't be compressed yet: {reason}")
        if is_decoder_type(architecture.config.model_type) and architecture.kind is CLASSIFIER:
            check_padding(path, architecture)
        architecture = _resolve_tied_head(architecture, shards, progress)
        stored = _match(path, architecture, shards, progress)
        sentence = read_sentence_modules(path, architecture.kind, architecture.config, trust_remote_code)
        return cls(architecture, path, source, shards, stored, trust_remote_code, sentence=sentence)

    @property
    def name(self) -> str:
        """A short name: the demo's, or the last part of the directory or the hub id."""
        if self.source.startswith(DEMO):
            return self.source.removeprefix(DEMO)
        return Path(os.path.expanduser(self.source)).resolve().name

    @property
    def brings_code(self) -> bool:
        """Whether its user accepts code that it brings."""
        return self.trusted

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every tensor, in the module's order; tied ones once."""
        return tuple(name for name in self.architecture.outline.names if name in self.stored)

    @property
    def parameters(self) -> int:
        """Number of weights; tied ones count once."""
        return sum(math.prod(self.shards.shapes[name]) for name in self.stored.values())

    @property
    def digest(self) -> str:
        """One sha256 over the weight files; reads them all the first time."""
        return self.shards.digest

    @property
    def file_sums(self) -> dict[str, str]:
        """The sha256 of the files that make its inputs of texts or images, and of its sentence modules', by path."""
        sums = {file.name: sha256(file) for file in input_files(self.path)}
        if self.sentence is not None:
            sums |= {file.relative_to(self.sentence.root).as_posix(): sha256(file) for file in self.sentence.files()}
        return sums

    def tensor(self, name: str) -> Tensor:
        """A tensor as it is stored; a ModelError where it isn't finite."""
        if name not in self.stored:
            raise ModelError(f"{self.source} has no tensor {name}")
        return self.shards.read(self.stored[name])

    def weight(self, name: str) -> Dense:
        """A matrix ``[out, in]`` in its stored dtype."""
        return Dense(self.architecture.to_out_in(name, self.tensor(name)))

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        from transformers import AutoTokenizer

        try:
            with quiet_transformers():
                tokenizer = AutoTokenizer.from_pretrained(self.path, trust_remote_code=False)
                if self.sentence is not None and self.sentence.lowercase:
                    lowercase(tokenizer)
                tokenizer("a text")  # some of its settings are looked at only then
        except Exception as error:  # transformers raises whatever its many tokenizers raise
            raise ModelError(f"{self.path} has no tokenizer that can be read ({first_line(error)})") from error
        return tokenizer

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The checkpoint's tokenizer; a ModelError where it has none."""
        return self._tokenizer

    def meta_module(self) -> PreTrainedModel:
        """The module without weights: every tensor on torch's meta device."""
        module = self.architecture.meta_module()
        module.eval()
        return module

    def torch_module(self, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
        """The module with its weights, for inference: the whole model in memory."""
        return load_module(self, self.architecture, dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of the weight files."""
        return sum(file.stat().st_size for file in self.shards.files)


def _resolve_tied_head(architecture: Architecture, shards: Shards, progress: Progress) -> Architecture:
    """A config may say tied while the checkpoint holds a head of its own: then the checkpoint is right."""
    if not architecture.tied:
        return architecture
    for head, embedding in architecture.outline.tied.items():
        stored = _stored(architecture, [head, embedding], shards)
        if len(stored) < 2 or torch.equal(*map(shards.read, stored.values())):
            continue
        if architecture.kind.is_seq2seq:
            return _with_own_head(architecture, head)
        progress.notice("the config says that the head is tied to the embedding, but they differ: read as untied")
        return architecture.with_tied_head(False)
    return architecture


def _stored(architecture: Architecture, names: Iterable[str], shards: Shards) -> dict[str, str]:
    prefix = architecture.cls.base_model_prefix
    return stored_names(names, shards.where, prefix, architecture.module_name)


def _with_own_head(architecture: Architecture, name: str) -> Architecture:
    """An encoder-decoder whose head isn't its embedding; a ModelError where another table isn't."""
    if name != architecture.outline.head:
        raise ModelError(
            f"{name} isn't the embedding that encoder and decoder share; only a head may be one of its own"
        )
    return replace(architecture, untied_head=True)


def _match(path: Path, architecture: Architecture, shards: Shards, progress: Progress) -> dict[str, str]:
    """The checkpoint's name of each of the module's tensors; a ModelError for one that is missing or misshapen."""
    outline = architecture.outline
    stored = _stored(architecture, outline.shapes, shards)
    for name in outline.names:
        if name not in stored:
            if architecture.computed_on_load(name):
                continue
            raise ModelError(f"{path} lacks {name}, which {architecture.class_name} needs")
        shape, needed = shards.shapes[stored[name]], outline.stored_shape(name)
        if shape != needed:
            raise ModelError(f"{path}: {name} is {list(shape)}, but by config.json {list(needed)} is needed")
    if extra := unused_tensors(shards.where, stored.values()):
        progress.notice(f"{len(extra)} tensors that {architecture.class_name} doesn't use were left out: {extra[0]}, …")
    _tell_untouched(architecture, progress)
    return {name: stored[name] for name in outline.names if name in stored}


def _tell_untouched(architecture: Architecture, progress: Progress) -> None:
    """Tell of matrices and the like in the layers that no pass changes, where they are a good part of the model."""
    outline = architecture.outline
    sizes = {name: math.prod(outline.shapes[name]) for name in outline.names}
    tables = set(outline.matrices)
    untouched = [
        name for name in sizes if outline.in_layer(name) and name not in tables and len(outline.shapes[name]) > 1
    ]
    share = sum(sizes[name] for name in untouched) / max(sum(sizes.values()), 1)
    if share > _NOTEWORTHY:
        progress.notice(f"{100 * share:.0f} % of the weights are no linear's and stay as they are: {untouched[0]}, …")
