"""Sentence encoders on disk: ``modules.json`` of sentence-transformers and the folders that it lists, read and written.

What a module of each class computes is in `compress.modeling.sentence_chain`; one of any other class is refused, since
an embedding without it would be another one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from safetensors.torch import save_file
from torch import Tensor

from compress.checkpoint.files.folder import licenses
from compress.checkpoint.files.shards import SAFE, Shards, find_shards
from compress.errors import ModelError
from compress.modeling.kinds import TaskKind
from compress.modeling.sentence_chain import (
    ACTIVATIONS,
    POOLING_MODES,
    SENTENCE,
    TOKENS,
    DenseLayer,
    LayerNorm,
    Normalize,
    Pooling,
    SentenceChain,
    SentenceModule,
    mean_pooling,
)
from compress.progress import Silent
from compress.system.regular_files import copy_file, read_json

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

MODULES = "modules.json"
_FACTS = "config_sentence_transformers.json"
_TRANSFORMER, _DROPOUT = "Transformer", "Dropout"
_PACKAGE = "sentence_transformers."
_SETTINGS = tuple(
    f"sentence_{name}_config.json" for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta")
)
"""Files of the transformer's module, of which the first that is there counts."""
_OUTPUT = "last_hidden_state"
_MODE_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""The older spelling of a pooling's modes, in the order in which they are concatenated."""

Facts = Mapping[str, object]


@dataclass(frozen=True)
class ModuleFolder:
    """A row of ``modules.json``, with the settings and tensors of its folder."""

    name: str
    type: str
    path: str
    settings: Facts
    tensors: Mapping[str, Tensor]

    @property
    def kind(self) -> str:
        """The name of its class."""
        return self.type.rpartition(".")[2]


@dataclass(frozen=True)
class SentenceModules:
    """The modules of a sentence encoder: ``chain`` is what they compute behind the transformer.

    ``root`` is the folder of ``modules.json``. ``max_length``: tokens at which texts are cut off, where it says so.
    ``lowercase``: whether texts are lowercased first.
    """

    root: Path
    folders: tuple[ModuleFolder, ...]
    chain: SentenceChain
    max_length: int | None = None
    lowercase: bool = False

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
        if (self.root / _FACTS).is_file():
            _write_json(directory / _FACTS, _read_object(self.root / _FACTS, self.root))


def transformer_folder(root: Path) -> Path:
    """The folder of a checkpoint's ``config.json``: ``root``, or that of the transformer by ``modules.json``.

    Old sentence encoders keep it in ``0_Transformer``.
    """
    if (root / "config.json").is_file() or not (root / MODULES).is_file():
        return root
    rows = _rows(root)
    return root / rows[0]["path"] if rows else root


def read_sentence_modules(
    path: Path, kind: TaskKind, config: PretrainedConfig, trust_pickle: bool = False
) -> SentenceModules | None:
    """The modules of the sentence encoder whose transformer is in a folder; None where it is none, or has a head.

    Raises ModelError for modules that can't be read, that don't fit each other or that compress doesn't know.
    """
    root = _root(path)
    if root is None or kind.has_head:
        return None
    folders = tuple(_folder(root, row, trust_pickle) for row in _rows(root))
    settings = next((file for name in _SETTINGS if (file := path / name).is_file()), None)
    facts = {} if settings is None else _read_object(settings, path)
    _check_transformer(folders, facts, settings or root / MODULES)
    modules = [_READERS[folder.kind](folder, root) for folder in folders[1:] if folder.kind != _DROPOUT]
    chain = SentenceChain(tuple(modules))
    try:
        chain.width(int(config.hidden_size))
    except ValueError as error:
        raise ModelError(f"{root / MODULES} is no sentence encoder's: {error}") from None
    length = facts.get("max_seq_length")
    if length is not None and (not isinstance(length, int) or isinstance(length, bool) or length < 1):
        raise ModelError(f"{settings}: max_seq_length is {length!r}; give a number of tokens, or null")
    return SentenceModules(root, folders, chain, length, bool(facts.get("do_lower_case")))


def sentence_chain(path: Path, kind: TaskKind, config: PretrainedConfig) -> SentenceChain:
    """What embeds the sentences of an encoder: its modules, or the mean over its hidden states where it has none.

    Pickled tensors are admitted: the process that chose the model has decided on them.
    """
    sentence = read_sentence_modules(path, kind, config, trust_pickle=True)
    return mean_pooling(int(config.hidden_size)) if sentence is None else sentence.chain


def is_sentence_encoder(path: Path) -> bool:
    """Whether a transformer's folder belongs to a sentence encoder."""
    return _root(path) is not None


def lowercase(tokenizer: PreTrainedTokenizerBase) -> None:
    """Let a tokenizer lowercase texts first, in place."""
    from tokenizers import normalizers

    backend = tokenizer.backend_tokenizer
    others = [] if backend.normalizer is None else [backend.normalizer]
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *others])


def module_folders(root: Path) -> list[str]:
    """The folders that a ``modules.json`` lists, but for ``root`` itself; none where there is none."""
    return [row["path"] for row in _rows(root) if row["path"]] if (root / MODULES).is_file() else []


def _root(path: Path) -> Path | None:
    """The folder of the ``modules.json`` that a transformer's folder belongs to; None without one.

    Other models of the same library have one too: a cross encoder's is a classifier's.
    """
    for root in (path, path.parent):
        if not (root / MODULES).is_file():
            continue
        rows = _rows(root)
        if not rows or root / rows[0]["path"] != path:
            continue
        facts = _read_object(root / _FACTS, root) if (root / _FACTS).is_file() else {}
        return None if facts.get("model_type") == "CrossEncoder" else root
    return None


def _rows(root: Path) -> list[dict[str, str]]:
    """The rows of a ``modules.json``, each with a name, a path below ``root`` and a type."""
    file = root / MODULES
    rows: list[dict[str, str]] = read_json(file, folder=root)
    if not isinstance(rows, list):
        raise ModelError(f"{file} can't be read: a JSON list is needed")
    for row in rows:
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("name", "path", "type")):
            raise ModelError(f"{file} can't be read: every module needs a name, a path and a type")
        path = PurePosixPath(row["path"])
        if path.is_absolute() or ".." in path.parts:
            raise ModelError(f"{file} points outside its directory, to {row['path']}")
    return rows


def _folder(root: Path, row: Mapping[str, str], trust_pickle: bool) -> ModuleFolder:
    kind = row["type"].rpartition(".")[2]
    if not row["type"].startswith(_PACKAGE) or kind not in {_TRANSFORMER, _DROPOUT, *_READERS}:
        raise ModelError(
            f"{root / MODULES}: compress doesn't know the module {row['type']}, only {', '.join(_READERS)} and "
            f"{_DROPOUT} of sentence-transformers behind a {_TRANSFORMER}; without {MODULES} the transformer alone is "
            "compressed"
        )
    if kind == _TRANSFORMER:
        return ModuleFolder(row["name"], row["type"], row["path"], {}, {})
    file = root / row["path"] / "config.json"
    settings = _read_object(file, root) if file.is_file() else {}
    tensors: dict[str, Tensor] = {}
    if kind in ("Dense", "LayerNorm"):
        shards: Shards = find_shards(root / row["path"], trust_pickle, Silent())
        tensors = {name: shards.read(name) for name in shards.where}
    return ModuleFolder(row["name"], row["type"], row["path"], settings, tensors)


def _check_transformer(folders: tuple[ModuleFolder, ...], facts: Facts, file: Path) -> None:
    """Raise a ModelError where what the chain reads isn't the last hidden states of a first and only transformer."""
    if [folder.kind for folder in folders].count(_TRANSFORMER) != 1 or folders[0].kind != _TRANSFORMER:
        raise ModelError(f"{file}: a sentence encoder begins with its one {_TRANSFORMER}, and has no other")
    texts = facts.get("modality_config")
    text = texts.get("text") if isinstance(texts, dict) else None
    output = text.get("method_output_name") if isinstance(text, dict) else _OUTPUT
    if output != _OUTPUT or facts.get("module_output_name", TOKENS) != TOKENS:
        raise ModelError(f"{file}: the transformer's output is {output!r}; compress knows {_OUTPUT!r} alone")


def _read_pooling(folder: ModuleFolder, root: Path) -> Pooling:
    settings, file = folder.settings, root / folder.path / "config.json"
    modes = settings.get("pooling_mode")
    if modes is None:
        modes = [mode for key, mode in _MODE_KEYS.items() if settings.get(key)] or ["mean"]
    modes = [modes] if isinstance(modes, str) else modes
    if not isinstance(modes, list) or not modes or not all(mode in POOLING_MODES for mode in modes):
        raise ModelError(f"{file}: the pooling mode is {modes!r}; there are {', '.join(POOLING_MODES)}")
    width = settings.get("embedding_dimension", settings.get("word_embedding_dimension"))
    if not isinstance(width, int) or isinstance(width, bool):
        raise ModelError(f"{file} lacks embedding_dimension, the width of what is pooled")
    return Pooling(modes=tuple(modes), takes=width, include_prompt=bool(settings.get("include_prompt", True)))


def _read_dense(folder: ModuleFolder, root: Path) -> DenseLayer:
    settings, file = folder.settings, root / folder.path / "config.json"
    spelled = str(settings.get("activation_function", "torch.nn.modules.activation.Tanh"))
    activation = spelled.rpartition(".")[2]
    if not spelled.startswith("torch.nn.") or activation not in ACTIVATIONS:
        raise ModelError(f"{file}: compress doesn't know the activation {spelled}; there are {', '.join(ACTIVATIONS)}")
    weight = _tensor(folder, root, "linear.weight", 2)
    bias = _tensor(folder, root, "linear.bias", 1) if settings.get("bias", True) else None
    if bias is not None and len(bias) != len(weight):
        raise ModelError(f"{file.parent}: linear.bias is {list(bias.shape)}, but linear.weight {list(weight.shape)}")
    residual, adds_input = None, bool(settings.get("use_residual"))
    if adds_input and weight.shape[0] != weight.shape[1]:
        residual = _tensor(folder, root, "residual.weight", 2)
        if residual.shape != weight.shape:
            raise ModelError(f"{file.parent}: residual.weight isn't shaped as linear.weight, {list(weight.shape)}")
    return DenseLayer(
        weight=weight,
        bias=bias,
        activation=activation,
        adds_input=adds_input,
        residual=residual,
        **_ends(folder, root),
    )


def _read_norm(folder: ModuleFolder, root: Path) -> LayerNorm:
    weight, bias = (_tensor(folder, root, f"norm.{part}", 1) for part in ("weight", "bias"))
    if weight.shape != bias.shape:
        raise ModelError(f"{root / folder.path}: norm.weight and norm.bias aren't shaped alike")
    return LayerNorm(weight=weight, bias=bias)


def _read_normalize(folder: ModuleFolder, root: Path) -> Normalize:
    return Normalize(**_ends(folder, root))


_READERS: Mapping[str, Callable[[ModuleFolder, Path], SentenceModule]] = {
    Pooling.kind: _read_pooling,
    DenseLayer.kind: _read_dense,
    LayerNorm.kind: _read_norm,
    Normalize.kind: _read_normalize,
}
"""How each class of module is read from its folder."""


def _ends(folder: ModuleFolder, root: Path) -> dict[str, str]:
    """What a module reads and writes."""
    reads = str(folder.settings.get("module_input_name") or SENTENCE)
    ends = {"reads": reads, "writes": str(folder.settings.get("module_output_name") or reads)}
    if unknown := set(ends.values()) - {TOKENS, SENTENCE}:
        file = root / folder.path / "config.json"
        raise ModelError(f"{file}: compress knows no {unknown.pop()!r}, only {TOKENS} and {SENTENCE}")
    return ends


def _tensor(folder: ModuleFolder, root: Path, name: str, axes: int) -> Tensor:
    """A module's tensor in float32."""
    tensor = folder.tensors.get(name)
    if tensor is None or tensor.ndim != axes:
        raise ModelError(f"{root / folder.path} lacks {name}, which its {folder.kind} needs")
    return tensor.float()


def _read_object(file: Path, root: Path) -> Facts:
    """The JSON object in a file of the checkpoint in ``root``."""
    facts = read_json(file, folder=root)
    if not isinstance(facts, dict):
        raise ModelError(f"{file} can't be read: a JSON object is needed")
    return facts


def _write_json(file: Path, facts: object) -> None:
    file.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
