"""Headers of safetensors files: those that are none or beyond all bounds are refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from compress.checkpoint.files.header import read_header
from compress.checkpoint.files.shards import check_headers
from compress.errors import ModelError


def test_the_shapes_of_a_file(tmp_path: Path) -> None:
    tensors = {"a": torch.zeros(2, 3), "b": torch.zeros(()), "c": torch.zeros(0, 4)}
    save_file(tensors, tmp_path / "a.safetensors", {"format": "pt"})
    assert read_header(tmp_path / "a.safetensors") == {"a": (2, 3), "b": (), "c": (0, 4)}


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
    with pytest.raises(ModelError, match="is no readable safetensors file|is truncated: "):
        check_headers(tmp_path)
