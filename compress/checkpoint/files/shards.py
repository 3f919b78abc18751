"""Read a checkpoint's weight files (safetensors or pickles): find them, check them, read one tensor at a time."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from compress.checkpoint.files.hashes import sha256
from compress.checkpoint.files.header import Shapes, check_count, read_header
from compress.checkpoint.files.sums import recorded_hashes
from compress.errors import ModelError
from compress.lazy import torch
from compress.modeling.no_checkpoint import foreign_weights
from compress.modeling.quiet import first_line
from compress.progress import Progress
from compress.system.regular_files import check_file, read_json

if TYPE_CHECKING:
    from torch import Tensor

SAFE = "model.safetensors"
_PICKLE = "pytorch_model.bin"
_PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")
_TRAINING_STATE = {"training_args", "optimizer", "scheduler", "scaler", "rng_state"}
_LARGEST_INDEX = 32 << 20
"""Bytes of an index that are read."""


@dataclass(frozen=True)
class Shards:
    """Weight files of one directory: ``files`` in order, ``where`` maps each stored tensor to its file."""

    files: tuple[Path, ...]
    where: dict[str, Path]
    shapes: Shapes

    def read(self, name: str) -> Tensor:
        """One float tensor as stored; a ModelError for bytes that can't be read or numbers that aren't finite."""
        tensor = self.raw(name)
        if not tensor.is_floating_point() or tensor.element_size() < 2:
            dtype = str(tensor.dtype).removeprefix("torch.")
            raise ModelError(
                f"{name} in {self.where[name]} is {dtype}; float32, float16 or bfloat16 weights are needed"
            )
        if not torch.isfinite(tensor).all():
            problem = "NaN" if torch.isnan(tensor).any() else "infinite"
            raise ModelError(f"{name} in {self.where[name]} holds {problem} values; the checkpoint is damaged")
        return tensor

    def raw(self, name: str) -> Tensor:
        """One tensor of any type, as stored; a ModelError for bytes that can't be read."""
        # Opened per tensor: a handle that lives on would keep every page it ever mapped.
        try:
            with safe_open(self.where[name], framework="pt") as file:
                return file.get_tensor(name)  # type: ignore[no-any-return]
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{self.where[name]} can't be read ({error})") from error

    @cached_property
    def sums(self) -> dict[Path, str]:
        """The sha256 of every file, in order."""
        return {file: sha256(file) for file in self.files}

    @property
    def digest(self) -> str:
        """One sha256 over the files' names and hashes."""
        lines = "".join(f"{digest}  {file.name}\n" for file, digest in self.sums.items())
        return hashlib.sha256(lines.encode()).hexdigest()


@dataclass(frozen=True)
class PickleShards(Shards):
    """PyTorch's pickles, read as tensors alone: code in them isn't run."""

    def raw(self, name: str) -> Tensor:
        """One tensor of any type, as stored."""
        return self._state[name]

    @cached_property
    def _state(self) -> dict[str, Tensor]:
        return {name: tensor for file in self.files for name, tensor in _unpickle(file).items()}


def find_shards(path: Path, trust_pickle: bool, progress: Progress, verify: bool = True) -> Shards:
    """The weights in a directory, safetensors before pickles. ModelError for what is missing, broken or unsafe.

    Where hashes were recorded (a ``SHA256SUMS`` beside the files, or the names that the hub's cache gives its blobs)
    every file is hashed and compared, unless ``verify`` is off: for files that this process wrote. Headers, sizes and
    the index are checked always.
    """
    files, index = _listed(path, SAFE)
    cls: type[Shards] = Shards
    if not files:
        files, index = _find_pickles(path, trust_pickle)
        cls = PickleShards
    headers = _headers(path, files, read_header if cls is Shards else _pickled)
    for name, file in index.items():
        if name not in headers[path / file]:
            raise ModelError(f"{path / file} lacks {name}, which the index says it holds; fetch the file again")
    where = {name: file for file, shapes in headers.items() for name in shapes}
    where |= {name: path / file for name, file in index.items()}
    shards = cls(tuple(files), where, {name: headers[file][name] for name, file in where.items()})
    if verify:
        _check_hashes(path, shards, progress)
    return shards


def has_weights(path: Path) -> bool:
    """Whether a directory has weights of a model: neither an adapter's nor what a training leaves beside those."""
    files = [Path(name) for name in os.listdir(path) if not name.startswith("adapter_")]
    stems = {file.stem for file in files if file.suffix in (*_PICKLE_SUFFIXES, ".safetensors")}
    return bool(stems - _TRAINING_STATE) or any(f"{name}.index.json" in map(str, files) for name in (SAFE, _PICKLE))


def check_headers(path: Path) -> None:
    """Refuse, as `find_shards` does, safetensors that are broken or beyond all bounds; no data is read."""
    files, _ = _listed(path, SAFE)
    _headers(path, files, read_header)


def _headers(path: Path, files: Sequence[Path], read: Callable[[Path], Shapes]) -> dict[Path, Shapes]:
    """The shapes in every file, as ``read`` reads them; a ModelError for what is no regular file, or too many."""
    for file in files:
        check_file(file)
    headers: dict[Path, Shapes] = {}
    for file in files:
        headers[file] = read(file)
        check_count(path, sum(map(len, headers.values())))
    return headers


def _listed(path: Path, name: str) -> tuple[list[Path], dict[str, str]]:
    """The weight files by the usual name or by an index, and the index's map; nothing where there is neither."""
    index_file = path / f"{name}.index.json"
    if os.path.lexists(path / name):
        return [path / name], {}
    if not os.path.lexists(index_file):
        return [], {}
    raw = read_json(index_file, _LARGEST_INDEX)
    try:
        index = {str(name): str(file) for name, file in raw["weight_map"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index_file} can't be read ({error})") from error
    check_count(path, len(index))
    files = [path / file for file in sorted(set(index.values()))]
    for file in files:
        if file.parent != path:
            raise ModelError(f"{index_file} points outside its directory, to {file}")
        if not os.path.lexists(file):
            raise ModelError(f"{file} is missing, though {index_file.name} lists it; fetch it again")
    return files, index


def _find_pickles(path: Path, trusted: bool) -> tuple[list[Path], dict[str, str]]:
    files, index = _listed(path, _PICKLE)
    named = sorted(f for f in path.iterdir() if f.suffix in _PICKLE_SUFFIXES and f.stem not in _TRAINING_STATE)
    files = files or named[:1]
    if not files:
        others = sorted(f.name for f in path.glob("*.safetensors"))
        unnamed = f" ({others[0]} is there, but neither {SAFE} nor an index that names it)" if others else ""
        raise ModelError(
            f"{path} is not a checkpoint: it has a config.json but no {SAFE}{unnamed or foreign_weights(path)}"
        )
    if not trusted:
        raise ModelError(
            f"{files[0]} is a pickle, which can run code; convert it to safetensors or pass --trust-remote-code"
        )
    return files, index


def _pickled(file: Path) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in _unpickle(file).items()}


def _unpickle(file: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except Exception as error:  # torch.load documents no errors of its own
        raise ModelError(f"{file} can't be read as weights alone ({first_line(error)})") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelError(f"{file} is no state dict: a mapping of names to tensors is needed")
    return state


def _check_hashes(path: Path, shards: Shards, progress: Progress) -> None:
    """Raise ModelError for a weight file that isn't as it was recorded."""
    recorded = dict(recorded_hashes(path, shards.files))
    for file in progress.track(recorded, "checking hashes", unit="file"):
        if shards.sums[file] != recorded[file]:
            raise ModelError(f"{file} is damaged: its sha256 isn't the recorded {recorded[file][:12]}…; fetch it again")
