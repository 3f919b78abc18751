"""Pass `fuse`: what it refuses, and that it comes to an end."""

import pytest

from compress.checkpoint.model import Model
from compress.errors import UsageError
from compress.export.built.build import build
from compress.export.targets.ort_cpu import OrtCpu
from compress.passes.fuse import Fuse


def test_rewriting_twice_changes_nothing_more(llama):
    model = Model.open(str(llama))
    graph = build(model.config, model.names, fused=True).model
    assert Fuse().rewrite(graph) > 0
    before = len(list(graph.graph))
    assert Fuse().rewrite(graph) == 0
    assert len(list(graph.graph)) == before


def test_an_encoder_has_no_cache_to_round(bert):
    with pytest.raises(UsageError, match="fuse: an encoder keeps no keys and values; leave out kv=int8"):
        Fuse(kv="int8").resolve(Model.open(str(bert)), OrtCpu.capability)
