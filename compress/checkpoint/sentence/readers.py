"""Read the modules of a sentence encoder: the settings and tensors of each one's folder, checked against its class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from compress.checkpoint.files.shards import Shards, find_shards
from compress.checkpoint.sentence.listing import MODULES, TRANSFORMER, Facts, read_object
from compress.errors import ModelError
from compress.modeling.sentence_chain import (
    ACTIVATIONS,
    POOLING_MODES,
    SENTENCE,
    TOKENS,
    DenseLayer,
    LayerNorm,
    Normalize,
    Pooling,
    SentenceModule,
)
from compress.progress import Silent

_DROPOUT = "Dropout"
_PACKAGE = "sentence_transformers."
_MODE_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""The older spelling of a pooling's modes, in the order in which they are concatenated."""


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


def read_folder(root: Path, row: Mapping[str, str], trust_pickle: bool) -> ModuleFolder:
    """Read what a row of ``modules.json`` names; a ModelError for a class that compress doesn't know."""
    kind = row["type"].rpartition(".")[2]
    if not row["type"].startswith(_PACKAGE) or kind not in {TRANSFORMER, _DROPOUT, *_READERS}:
        raise ModelError(
            f"{root / MODULES}: compress doesn't know the module {row['type']}, only {', '.join(_READERS)} and "
            f"{_DROPOUT} of sentence-transformers behind a {TRANSFORMER}; without {MODULES} the transformer alone is "
            "compressed"
        )
    if kind == TRANSFORMER:
        return ModuleFolder(row["name"], row["type"], row["path"], {}, {})
    file = root / row["path"] / "config.json"
    settings = read_object(file, root) if file.is_file() else {}
    tensors: dict[str, Tensor] = {}
    if kind in ("Dense", "LayerNorm"):
        shards: Shards = find_shards(root / row["path"], trust_pickle, Silent())
        tensors = {name: shards.read(name) for name in shards.where}
    return ModuleFolder(row["name"], row["type"], row["path"], settings, tensors)


def read_module(folder: ModuleFolder, root: Path) -> SentenceModule | None:
    """Make the module of a folder behind the transformer; None for dropout, which does nothing but in training.

    Raises ModelError for settings or tensors that the class can't have.
    """
    return None if folder.kind == _DROPOUT else _READERS[folder.kind](folder, root)


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
