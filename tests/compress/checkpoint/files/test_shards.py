"""Weight files: what is missing, broken, unsafe or damaged is one line; shards and pickles are read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.checkpoint.model import Model
from compress.errors import ModelError
from tests.support.checkpoints import build, edit


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    build("LlamaForCausalLM").save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    build("LlamaForCausalLM").save_pretrained(tmp_path / "sharded", max_shard_size="30KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) >= 2
    return tmp_path / "sharded"


def test_shards_are_one_model(sharded: Path, llama: Path) -> None:
    single, many = Model.open(str(llama)), Model.open(str(sharded))
    assert single.names == many.names
    assert single.parameters == many.parameters
    assert all(torch.equal(single.tensor(name), many.tensor(name)) for name in single.names)


def test_the_digest_is_that_of_the_files(llama: Path) -> None:
    first = hashlib.sha256((llama / "model.safetensors").read_bytes()).hexdigest()
    expected = hashlib.sha256(f"{first}  model.safetensors\n".encode()).hexdigest()
    assert Model.open(str(llama)).digest == expected
    edit(llama, lambda tensors: tensors["model.norm.weight"].add_(1))
    assert Model.open(str(llama)).digest != expected


@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_are_refused_unless_accepted(llama: Path, zipped: bool) -> None:
    plain = Model.open(str(llama))
    tensors = {name: plain.tensor(name).clone() for name in plain.names}
    torch.save(tensors, llama / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    torch.save({"learning_rate": 1}, llama / "optimizer.pt")
    (llama / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"pytorch_model\.bin is a pickle.*--trust-remote-code"):
        Model.open(str(llama))
    model = Model.open(str(llama), trust_remote_code=True)
    assert model.names == plain.names
    assert all(torch.equal(model.tensor(name), tensors[name]) for name in model.names)


def test_a_pickle_that_runs_code_never_does(llama: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (llama / "ran",))

    (llama / "model.safetensors").unlink()
    torch.save({"weight": Trap()}, llama / "pytorch_model.bin")
    with pytest.raises(ModelError, match="can't be read as weights alone"):
        Model.open(str(llama), trust_remote_code=True)
    assert not (llama / "ran").exists()


def test_a_missing_shard(sharded: Path) -> None:
    first = sorted(sharded.glob("*.safetensors"))[0]
    first.unlink()
    with pytest.raises(ModelError, match=f"{first.name} is missing, though model.safetensors.index.json lists it"):
        Model.open(str(sharded))


def test_a_missing_index(sharded: Path) -> None:
    (sharded / "model.safetensors.index.json").unlink()
    with pytest.raises(ModelError, match=r"model-00001-of-\d+\.safetensors is there, but neither"):
        Model.open(str(sharded))


@pytest.mark.parametrize(
    ("cut", "message"), [(-10, "is truncated: "), (40, "is no readable safetensors"), (4, "is no readable safetensors")]
)
def test_a_truncated_shard(sharded: Path, cut: int, message: str) -> None:
    last = sorted(sharded.glob("*.safetensors"))[-1]
    last.write_bytes(last.read_bytes()[:cut])
    with pytest.raises(ModelError, match=f"{last.name} {message}"):
        Model.open(str(sharded))


def test_an_index_that_lies(sharded: Path) -> None:
    file = sharded / "model.safetensors.index.json"
    index = json.loads(file.read_text())
    index["weight_map"]["model.norm.weight"] = index["weight_map"]["model.embed_tokens.weight"]
    file.write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"lacks model\.norm\.weight, which the index says it holds"):
        Model.open(str(sharded))
    index["weight_map"]["model.norm.weight"] = "../elsewhere.safetensors"
    file.write_text(json.dumps(index))
    with pytest.raises(ModelError, match="points outside its directory"):
        Model.open(str(sharded))
    file.write_text("{}")
    with pytest.raises(ModelError, match=r"index\.json can't be read"):
        Model.open(str(sharded))


@pytest.mark.parametrize(("value", "word"), [(float("nan"), "NaN"), (float("inf"), "infinite")])
def test_weights_that_are_not_finite(llama: Path, value: float, word: str) -> None:
    edit(llama, lambda tensors: tensors["model.layers.0.mlp.up_proj.weight"][3, 4].fill_(value))
    model = Model.open(str(llama))
    model.tensor("model.norm.weight")
    with pytest.raises(ModelError, match=rf"model\.layers\.0\.mlp\.up_proj\.weight in .* holds {word} values"):
        model.tensor("model.layers.0.mlp.up_proj.weight")
    with pytest.raises(ModelError, match="up_proj"):
        model.torch_module()


def test_weights_of_a_type_that_is_no_float(llama: Path) -> None:
    edit(llama, lambda tensors: tensors.update({"model.norm.weight": torch.ones(32, dtype=torch.int8)}))
    with pytest.raises(ModelError, match=r"model\.norm\.weight in .* is int8; float32"):
        Model.open(str(llama)).tensor("model.norm.weight")
