"""A variant is written again in other formats, from its integers."""

from __future__ import annotations

import json

import torch
from safetensors.torch import load_file

from compress.checkpoint.variant import Variant
from compress.checkpoint.writing.writer import WriteOptions
from compress.formats.base import find_format
from compress.pipeline.rewrite import rewrite
from compress.progress import Silent
from tests.support.passes import layers_variant


def test_a_variant_is_written_again_without_solving(untied, tmp_path, rounded):
    packed = layers_variant(untied, tmp_path / "v", lambda t: rounded(t, 32, 4), WriteOptions())
    for name in ("gptq", "awq"):
        out = tmp_path / name
        out.mkdir()
        again = rewrite(packed, out, WriteOptions(find_format(name), shard_bytes=30_000), Silent())
        index = json.loads((out / "model.safetensors.index.json").read_text())
        files = [load_file(out / name) for name in sorted(set(index["weight_map"].values()))]
        assert len(files) > 3
        assert all(len(tensors) == 1 or sum(t.nbytes for t in tensors.values()) <= 30_000 for tensors in files)
        assert index["metadata"]["total_size"] == sum(again.shards.raw(n).nbytes for n in again.shards.where)
        for key in packed.names:
            if key in packed.manifest.weights and packed.manifest.weights[key].form == "quantized":
                assert torch.equal(again.weight(key).codes, packed.weight(key).codes)
                assert torch.equal(again.weight(key).scale, packed.weight(key).scale.half())
        assert again.manifest.recipe == packed.manifest.recipe
        assert Variant.open(out).manifest.format == name
    back = tmp_path / "back"
    back.mkdir()
    plain = rewrite(Variant.open(tmp_path / "gptq"), back, WriteOptions(), Silent())
    name = "model.layers.1.mlp.down_proj.weight"
    assert torch.equal(plain.weight(name).dequantize(), Variant.open(tmp_path / "gptq").weight(name).dequantize())
