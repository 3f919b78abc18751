"""Weight files: what is missing, broken, unsafe or damaged is one line; shards and pickles are read."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.checkpoint.files.shards import check_headers
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


def test_a_shard_that_is_not_what_was_recorded(llama: Path) -> None:
    file = llama / "model.safetensors"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (llama / "SHA256SUMS").write_text(f"{digest}  {file.name}\n{'0' * 64} *other.bin\n")
    assert Model.open(str(llama)).parameters > 0
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelError, match=rf"is damaged: its sha256 isn't the recorded {digest[:12]}"):
        Model.open(str(llama))


def test_a_blob_of_the_hub_cache_that_is_not_what_its_name_says(llama: Path, tmp_path: Path) -> None:
    (tmp_path / "snapshots").mkdir()
    llama = llama.rename(tmp_path / "snapshots" / "0123abcd")
    file, blobs = llama / "model.safetensors", tmp_path / "blobs"
    blobs.mkdir()
    data = file.read_bytes()
    blob = blobs / hashlib.sha256(data).hexdigest()
    blob.write_bytes(data)
    file.unlink()
    file.symlink_to(blob)
    assert Model.open(str(llama)).parameters > 0
    blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ModelError, match="is damaged"):
        Model.open(str(llama))


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


def test_headers_and_tensors_beyond_all_models_are_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", 1 << 30))
        stream.truncate(8 + (1 << 30))  # of no blocks: the disk holds none of it
    with pytest.raises(ModelError, match="its header is 1,073,741,824 bytes long, and 16,777,216 are read at most"):
        check_headers(tmp_path)
    entry = {"dtype": "F32", "shape": [], "data_offsets": [0, 0]}
    header = json.dumps({str(i): entry for i in range(200_001)}, separators=(",", ":")).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ModelError, match="has 200,001 tensors, and 200,000 are read at most"):
        check_headers(tmp_path)
    file.unlink()
    weight_map = dict.fromkeys(map(str, range(600_000)), "a.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(ModelError, match="has 600,000 tensors"):
        check_headers(tmp_path)


@pytest.mark.parametrize("header", [b"[" * 99_999, b"{}}", b'{"a":5}', b'{"a":{"data_offsets":["x",1],"shape":[1]}}'])
def test_a_header_that_is_none(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ModelError):
        check_headers(tmp_path)
