"""An outline is what the whole module tells, of every family; it is built once for all that are alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from compress.calibration.data import Calibration
from compress.checkpoint.model import Model
from compress.checkpoint.variant import Variant
from compress.export.targets.base import find_target
from compress.modeling.architecture import Architecture, _build
from compress.modeling.experts import expert_weights
from compress.modeling.families import family_of
from compress.modeling.modules import linears, stacks, transposed_weights
from compress.modeling.outline import Outline
from compress.modeling.spaces.folds import _traced
from compress.pipeline.parse import Pipeline
from compress.pipeline.predict import ConfigOnlyModel, predict
from compress.pipeline.run import run_pipeline
from compress.progress import Silent
from tests.support.tensors import token_ids
from tests.whole.test_families import FAMILIES as TINY
from tests.whole.test_families import OWN_HEAD

WORDS = {"vocab_size": 331, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}


def architecture(name: str) -> Architecture:
    class_name, options = TINY[name]
    cls = getattr(transformers, class_name)
    config = cls.config_class(**{**WORDS, **options})
    family = family_of(config.model_type)
    assert family is not None
    return Architecture(cls, config, family.kind, {}, untied_head=name == OWN_HEAD)


def naive(module: transformers.PreTrainedModel) -> Outline:
    """Read off a module with every expert in place."""
    state, tied, layers = module.state_dict(), module.all_tied_weights_keys, stacks(module)
    names = {id(child): f"{name}.weight" for name, child in module.named_modules()}
    inside = {name: child for path, stack in layers for name, child in linears(stack, path).items()}
    other = {type(child).__name__ for child in inside.values() if type(child) is not nn.Linear}
    embedding = names.get(id(module.get_input_embeddings()), "")
    embedding = embedding if embedding in {*state, *tied} else ""
    return Outline(
        shapes={name: tuple(t.T.shape if name in transposed_weights(module) else t.shape) for name, t in state.items()},
        tied=tied,
        linears=tuple(linears(module)),
        unusual_linears=(),
        transposed_weights=transposed_weights(module),
        expert_weights=expert_weights(module),
        tables=frozenset(names[id(child)] for child in module.modules() if isinstance(child, nn.Embedding)),
        embedding=tied.get(embedding, embedding) or None,
        head=names.get(id(module.get_output_embeddings())),
        layer_counts={path: len(stack) for path, stack in layers},
        nonstandard_linear=other.pop() if other else None,
        closed_experts=None,
        number_bytes={name: t.element_size() for name, t in state.items() if not t.is_floating_point()},
    )


@pytest.mark.parametrize("name", TINY)
def test_an_outline_is_that_of_the_whole_module(name: str) -> None:
    arch = architecture(name)
    outline, expected = arch.outline, naive(arch.meta_module())
    assert outline == expected
    assert list(outline.shapes) == list(expected.shapes)
    initialized = arch.cls(arch.config)
    if not outline.expert_weights:
        assert list(initialized.state_dict()) == list(outline.shapes)
    else:
        assert len(outline.expert_weights) == 3 * 2 * 4  # matrices, layers, experts
    stored = {key: tuple(tensor.shape) for key, tensor in arch.meta_module().state_dict().items()}
    assert stored == {key: outline.stored_shape(key) for key in outline.shapes}


@pytest.mark.parametrize("name", TINY)
def test_the_matrices_are_the_layers_linears_the_embedding_and_the_head(name: str) -> None:
    arch = architecture(name)
    module = arch.meta_module()
    inside = {weight for path, stack in stacks(module) for weight in linears(stack, path)}
    tied, tables = module.all_tied_weights_keys, (module.get_input_embeddings(), module.get_output_embeddings())
    names = [f"{path}.weight" for path, child in module.named_modules() if any(child is table for table in tables)]
    inside |= {tied.get(key, key) for key in names}
    expected = [key for key in module.state_dict() if key in inside and key not in tied]
    assert list(arch.outline.matrices) == expected
    assert list(arch.outline.names) == [key for key in module.state_dict() if key not in tied]


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Callable[[type], list[bool]]:
    """Count the modules of a class that are made from now on; whether each is without weights."""

    def watch(cls: type) -> list[bool]:
        modules: list[bool] = []
        original = cls.__init__

        def init(self: Any, *args: Any, **options: Any) -> None:
            original(self, *args, **options)
            modules.append(next(self.parameters()).is_meta)

        monkeypatch.setattr(cls, "__init__", init)
        return modules

    return watch


def test_a_prediction_builds_one_module(tmp_path: Path, built: Callable[[type], list[bool]]) -> None:
    transformers.Qwen3MoeConfig(**TINY["Qwen3-MoE"][1], vocab_size=301).save_pretrained(tmp_path)
    _build.cache_clear()
    modules, target = built(transformers.Qwen3MoeForCausalLM), find_target("ort-cpu")
    for text in (None, "int8", "int4:solver=rtn,fuse", "fp16,fuse"):
        pipeline = None if text is None else Pipeline.parse(text)
        predict(ConfigOnlyModel.read(tmp_path), pipeline, target.capability)
    assert modules == [True]


def test_a_run_of_two_pipelines_builds_an_outline_and_a_module_for_each_walk_and_each_checkpoint(
    llama: Path, tmp_path: Path, built: Callable[[type], list[bool]]
) -> None:
    modules, target = built(transformers.LlamaForCausalLM), find_target("ort-cpu")
    _build.cache_clear()
    _traced.cache_clear()
    model = Model.open(str(llama))
    for text in ("int8", "int4:solver=gptq"):
        (tmp_path / text).mkdir()
        run_pipeline(
            model,
            Pipeline.parse(text),
            target.capability,
            tmp_path / text,
            lambda: Calibration(token_ids(2, 24), "test"),
            seed=0,
            progress=Silent(),
        )
        assert Variant.open(tmp_path / text).names == model.names
    assert modules == [True] * 6  # one to see which scales can be moved


def test_what_a_pass_resizes_has_an_outline_of_its_own(tmp_path: Path, built: Callable[[type], list[bool]]) -> None:
    transformers.LlamaConfig(**TINY["Llama"][1], vocab_size=302).save_pretrained(tmp_path)
    _build.cache_clear()
    modules, target = built(transformers.LlamaForCausalLM), find_target("ort-cpu")
    model = ConfigOnlyModel.read(tmp_path)
    half = predict(model, Pipeline.parse("prune:ratio=0.5"), target.capability)
    assert modules == [True, True]
    assert half.parameters == predict(model, None, target.capability).parameters
    assert model.architecture.resized(lambda config: None) is model.architecture


def test_equal_architectures_are_equal(llama: Path, untied: Path, bert: Path) -> None:
    first, second, other, encoder = (Model.open(str(path)).architecture for path in (llama, llama, untied, bert))
    second.config.dtype = torch.float16
    assert first == second
    assert hash(first) == hash(second)
    assert len({first, second, other, encoder}) == 3
