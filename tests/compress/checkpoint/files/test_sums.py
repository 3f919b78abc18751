"""Weight files are compared with the hashes that are recorded of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from compress.checkpoint.files.sums import record_hashes, recorded_hashes
from compress.checkpoint.model import Model
from compress.errors import ModelError
from tests.support.checkpoints import build


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    build("LlamaForCausalLM").save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


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


def test_what_is_recorded_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"a")
    record_hashes(tmp_path)
    digest = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    assert (tmp_path / "SHA256SUMS").read_text() == f"{digest}  model.safetensors\n"
    assert list(recorded_hashes(tmp_path, [file, tmp_path / "other.safetensors"])) == [(file, digest)]
    record_hashes(tmp_path, {"b": "2", "a": "1"})
    assert (tmp_path / "SHA256SUMS").read_text() == "1  a\n2  b\n"
    (tmp_path / "SHA256SUMS").write_text("nothing\n")
    with pytest.raises(ModelError, match="SHA256SUMS can't be read: 'nothing' is no hash and file name"):
        list(recorded_hashes(tmp_path, [file]))
