"""Sentence encoders on disk: ``modules.json`` of sentence-transformers and the folders that it lists, read and written.

What a module of each class computes is in `compress.modeling.sentence_chain`; one of any other class is refused, since
an embedding without it would be another one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from safetensors.torch import save_file

from compress.checkpoint.files.folder import licenses
from compress.checkpoint.files.shards import SAFE
from compress.checkpoint.sentence.listing import (
    FACTS,
    MODULES,
    TRANSFORMER,
    Facts,
    find_root,
    read_facts,
    read_object,
    read_rows,
)
from compress.checkpoint.sentence.readers import ModuleFolder, read_folder, read_module
from compress.errors import ModelError
from compress.modeling.kinds import TaskKind
from compress.modeling.sentence_chain import TOKENS, SentenceChain, Truncation, mean_pooling
from compress.system.regular_files import copy_file

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

_SETTINGS = tuple(
    f"sentence_{name}_config.json" for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta")
)
"""Files of the transformer's module, of which the first that is there counts."""
_OUTPUT = "last_hidden_state"
_OVERRIDES = {
    "tokenizer_args": "tokenizer_config.json",
    "processor_kwargs": "tokenizer_config.json",
    "config_args": "config.json",
    "config_kwargs": "config.json",
}
"""Settings of the transformer's module by which options of a file are overridden."""
_HARMLESS = {"attn_implementation", "model_max_length", "padding_side", "trust_remote_code", "use_cache", "use_fast"}
"""Options that change no number of an embedding."""
_SUFFIXES = (".json", ".safetensors", ".bin")


@dataclass(frozen=True)
class SentenceModules:
    """The modules of a sentence encoder: ``chain`` is what they compute behind the transformer.

    ``root`` is the folder of ``modules.json``, ``settings`` the file of the transformer's. ``max_length``: tokens at
    which texts are cut off, where it says so. ``lowercase``: whether texts are lowercased first.
    """

    root: Path
    folders: tuple[ModuleFolder, ...]
    chain: SentenceChain
    max_length: int | None = None
    lowercase: bool = False
    settings: Path | None = None

    def files(self) -> list[Path]:
        """The files that say what they compute: lists, settings and tensors."""
        inside = [file for folder in self.folders[1:] for file in sorted((self.root / folder.path).glob("*"))]
        settings = [self.root / MODULES, self.root / FACTS, *([] if self.settings is None else [self.settings])]
        return [file for file in (*settings, *inside) if file.suffix in _SUFFIXES and file.is_file()]

    def save(self, directory: Path) -> None:
        """Write them into a variant's directory, whose transformer lies in the directory itself."""
        rows = []
        for i, folder in enumerate(self.folders):
            rows.append({"idx": i, "name": folder.name, "path": folder.path if i else "", "type": folder.type})
            if i == 0:
                continue
            (directory / folder.path).mkdir(parents=True, exist_ok=True)
            if folder.settings:
                _write_json(directory / folder.path / "config.json", folder.settings)
            if folder.tensors:
                tensors = {name: tensor.contiguous() for name, tensor in folder.tensors.items()}
                save_file(tensors, directory / folder.path / SAFE, metadata={"format": "pt"})
        _write_json(directory / MODULES, rows)
        if self.folders[0].path:
            for file in licenses(self.root):
                copy_file(file, directory / file.name)
        if (self.root / FACTS).is_file():
            _write_json(directory / FACTS, read_object(self.root / FACTS, self.root))


def read_sentence_modules(
    path: Path, kind: TaskKind, config: PretrainedConfig, trust_pickle: bool = False
) -> SentenceModules | None:
    """The modules of the sentence encoder whose transformer is in a folder; None where it is none, or has a head.

    Raises ModelError for modules that can't be read, that don't fit each other or that compress doesn't know.
    """
    root = find_root(path)
    if root is None or kind.has_head:
        return None
    folders = tuple(read_folder(root, row, trust_pickle) for row in read_rows(root))
    settings = next((file for name in _SETTINGS if (file := path / name).is_file()), None)
    facts = {} if settings is None else read_object(settings, path)
    _check_transformer(folders, facts, settings or root / MODULES)
    modules = (*(read_module(folder, root) for folder in folders[1:]), _read_truncation(root))
    chain = SentenceChain(tuple(module for module in modules if module is not None))
    try:
        chain.width(int(config.hidden_size))
    except ValueError as error:
        raise ModelError(f"{root / MODULES} is no sentence encoder's: {error}") from None
    length = facts.get("max_seq_length")
    if length is not None and not _is_count(length):
        raise ModelError(f"{settings}: max_seq_length is {length!r}; give a number of tokens, or null")
    return SentenceModules(root, folders, chain, length, bool(facts.get("do_lower_case")), settings)


def sentence_chain(path: Path, kind: TaskKind, config: PretrainedConfig) -> SentenceChain:
    """What embeds the sentences of an encoder: its modules, or the mean over its hidden states where it has none.

    Pickled tensors are admitted: the process that chose the model has decided on them.
    """
    sentence = read_sentence_modules(path, kind, config, trust_pickle=True)
    return mean_pooling(int(config.hidden_size)) if sentence is None else sentence.chain


def lowercase(tokenizer: PreTrainedTokenizerBase) -> None:
    """Let a tokenizer lowercase texts first, in place."""
    from tokenizers import normalizers

    backend = tokenizer.backend_tokenizer
    others = [] if backend.normalizer is None else [backend.normalizer]
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *others])


def _read_truncation(root: Path) -> Truncation | None:
    """What is cut off each embedding at its end, by ``truncate_dim``."""
    size = read_facts(root).get("truncate_dim")
    if size is None:
        return None
    if not _is_count(size):
        raise ModelError(f"{root / FACTS}: truncate_dim is {size!r}; give a number of dimensions, or null")
    return Truncation(size=size)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _check_transformer(folders: tuple[ModuleFolder, ...], facts: Facts, file: Path) -> None:
    """Raise a ModelError where what the chain reads isn't the last hidden states of a first and only transformer."""
    if [folder.kind for folder in folders].count(TRANSFORMER) != 1 or folders[0].kind != TRANSFORMER:
        raise ModelError(f"{file}: a sentence encoder begins with its one {TRANSFORMER}, and has no other")
    texts = facts.get("modality_config")
    text = texts.get("text") if isinstance(texts, dict) else None
    output = text.get("method_output_name") if isinstance(text, dict) else _OUTPUT
    if output != _OUTPUT or facts.get("module_output_name", TOKENS) != TOKENS:
        raise ModelError(f"{file}: the transformer's output is {output!r}; compress knows {_OUTPUT!r} alone")
    for key, overridden in _OVERRIDES.items():
        options = facts.get(key)
        if isinstance(options, dict) and (others := sorted(options.keys() - _HARMLESS)):
            raise ModelError(f"{file} sets {others[0]} in {key}, which compress doesn't read; set it in {overridden}")


def _write_json(file: Path, facts: object) -> None:
    file.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
