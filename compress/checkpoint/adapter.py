"""LoRA adapter beside a model: merged into it by peft, as transformers loads both where peft is installed.

The merged checkpoint lies in the cache and is made once; the original stays as it is.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from compress.checkpoint.base import Checkpoint
from compress.checkpoint.demo.model import cache_directory
from compress.checkpoint.files.folder import companions, copy_along
from compress.checkpoint.files.hashes import sha256
from compress.checkpoint.files.shards import has_weights
from compress.checkpoint.files.sums import SUMS, record_hashes
from compress.checkpoint.load import load_module
from compress.errors import MissingComponentError, ModelError
from compress.modeling.adapter_config import FILE, AdapterConfig
from compress.modeling.quiet import first_line, quiet_transformers
from compress.progress import Progress
from compress.system.regular_files import check_file
from compress.system.staging import staged

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SAFE, _PICKLE = "adapter_model.safetensors", "adapter_model.bin"
_PREFIX = "base_model.model."
"""Beginning of the names of an adapter's tensors, before the module's path."""


@dataclass(frozen=True)
class Adapter:
    """An adapter with weights, in the folder of the model that it is for."""

    config: AdapterConfig
    weights: Path

    @property
    def path(self) -> Path:
        """The folder."""
        return self.config.path

    def merged(self, base: Checkpoint, digest: str, progress: Progress) -> Path:
        """The directory of the model with the adapter merged into it, made on first use.

        ``digest`` is the model's own. Raises ModelError for an adapter that isn't the model's or that can't be merged.
        """
        parts = [digest, sha256(self.weights), sha256(self.path / FILE), sha256(self.path / "config.json")]
        parts += [sha256(file) for file in companions(self.path)]
        out = cache_directory() / "adapters" / hashlib.sha256(" ".join(parts).encode()).hexdigest()[:32]
        if (out / SUMS).is_file():
            progress.notice(f"the {self.config.title} in {self.path} is merged into the model beside it")
            return out
        progress.notice(f"merging the {self.config.title} in {self.path} into the model beside it, in {out} (once)")
        with staged(out, overwrite=True, marker=SUMS) as stage:
            self._merge(base, stage)
            record_hashes(stage)
        return out

    def _merge(self, base: Checkpoint, out: Path) -> None:
        from transformers import GenerationConfig

        dtype = base.tensor(base.matrices[0]).dtype
        try:
            with quiet_transformers(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of peft's, on what is checked here
                module = self._unloaded(load_module(base, base.architecture, dtype), base)
                if module.can_generate():
                    module.generation_config = GenerationConfig()  # the file itself goes along
                module.save_pretrained(out)
        except ModelError:
            raise
        except Exception as error:  # peft has no common class for what an adapter can be wrong in
            raise ModelError(
                f"{self.weights} can't be merged into the model beside it ({first_line(error)}); merge it with peft's "
                f"merge_and_unload and remove {FILE}"
            ) from error
        (out / "generation_config.json").unlink(missing_ok=True)
        copy_along(self.path, out)
        if base.sentence is not None:
            base.sentence.save(out)

    def _unloaded(self, module: PreTrainedModel, base: Checkpoint) -> PreTrainedModel:
        """The module with the adapter in its weights, and nothing of peft left."""
        import peft

        self.config.check_options({field.name for field in fields(peft.LoraConfig)}, peft.__version__)
        stored = peft.load_peft_weights(str(self.path), device="cpu")
        state = {_full_name(name, module): tensor for name, tensor in stored.items()}
        self._check_ties(base, state)
        model = peft.get_peft_model(module, peft.PeftConfig.from_pretrained(str(self.path)))
        loaded = peft.set_peft_model_state_dict(model, {f"{_PREFIX}{name}": tensor for name, tensor in state.items()})
        if loaded.unexpected_keys:
            raise ModelError(
                f"{self.weights}: {loaded.unexpected_keys[0]} belongs to no module of a {type(module).__name__}; merge "
                "the adapter into the model that it was trained on, by peft's merge_and_unload"
            )
        trained = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
        if missing := sorted({name.removeprefix(_PREFIX) for name in trained} - state.keys()):
            raise ModelError(f"{self.weights} lacks {missing[0]}, which {FILE} promises; fetch it again")
        merged: PreTrainedModel = model.merge_and_unload(safe_merge=True)
        return merged

    def _check_ties(self, base: Checkpoint, changed: Iterable[str]) -> None:
        """Refuse to change an embedding or a head that are one matrix: unmerged, only one of them is changed."""
        if not base.tied:
            return
        outline = base.architecture.outline
        tied = {name.removesuffix("weight"): name for name in (*outline.tied, *outline.tied.values())}
        if both := next((tied[stem] for name in changed for stem in tied if name.startswith(stem)), None):
            raise ModelError(
                f"{self.weights} changes {both}, which is embedding and head at once; untie them with peft's "
                "merge_and_unload and save the model"
            )


def find_adapter(path: Path, trust_pickle: bool, progress: Progress) -> Adapter | None:
    """The adapter in a model's folder; None where there is none to merge.

    A config without weights is a leftover of a model that is merged already. Raises ModelError for an adapter without a
    model, of a type that isn't merged, or that is a pickle; MissingComponentError where peft is missing.
    """
    config = AdapterConfig.read(path)
    if config is None:
        return None
    if not os.path.lexists(path / "config.json") or not has_weights(path):
        raise config.refuse_alone()
    weights = next((path / name for name in (_SAFE, _PICKLE) if os.path.lexists(path / name)), None)
    if weights is None:
        progress.notice(f"{path / FILE} has no weights beside it: the model is read as it is, merged already")
        return None
    check_file(weights)
    config.check_mergeable()
    if weights.name == _PICKLE and not trust_pickle:
        raise ModelError(
            f"{weights} is a pickle, which can run code; convert it to safetensors or pass --trust-remote-code"
        )
    if find_spec("peft") is None:
        raise MissingComponentError(
            f"merging the LoRA adapter in {path} takes peft: pip install 'compress-models[peft]', or merge it with "
            "merge_and_unload first"
        )
    return Adapter(config, weights)


def _full_name(name: str, module: PreTrainedModel) -> str:
    """Name of an adapter's tensor in a module, as transformers takes it too.

    Some authors save it without peft's own beginning, or train it on the model without its head, or with it.
    """
    name, stem = name.removeprefix(_PREFIX), f"{module.base_model_prefix}."
    if not hasattr(module, module.base_model_prefix):
        return name.removeprefix(stem)
    return name if hasattr(module, name.partition(".")[0]) else stem + name
