"""Files that are copied next to a graph, and what the graph notes of its origin."""

from __future__ import annotations

from types import SimpleNamespace

import onnx_ir as ir

from compress.export.files.companions import copy_tokenizer, write_metadata
from compress.passes.fuse import Fuse
from compress.version import __version__
from tests.support.graphs import empty_graph


def test_a_tokenizers_and_a_processors_files_are_copied_and_no_others(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    files = {"tokenizer.json", "vocab.txt", "preprocessor_config.json", "generation_config.json"}
    for name in [*files, "model.safetensors", "config.json"]:
        (source / name).write_text(name)
    (source / "merges.txt").mkdir()  # no file
    copy_tokenizer(source, out)
    assert {file.name: file.read_text() for file in out.iterdir()} == {name: name for name in files}


def test_metadata_name_the_source_its_passes_and_the_target(tmp_path):
    model = ir.Model(empty_graph(), ir_version=11)
    checkpoint = SimpleNamespace(path=tmp_path / "llama-int8", recipe=["int8:act=none", "fuse"])
    write_metadata(model, checkpoint, [Fuse()], "ort-cpu")
    assert (model.producer_name, model.producer_version) == ("compress", __version__)
    assert model.metadata_props == {"source": "llama-int8", "recipe": "int8:act=none,fuse", "target": "ort-cpu"}
