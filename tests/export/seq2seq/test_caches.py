"""Caches of a decoder: sizes, positions, and two steps that equal one."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch
from transformers import BartConfig, MarianConfig, T5Config

from compress.export.seq2seq.caches import (
    DecoderCaches,
    decoder_layers,
    position_range,
    shape_of_heads,
    token_positions,
)
from compress.export.seq2seq.model_builder import ModelBuilder
from compress.graph.builder import GraphBuilder
from tests.support.graphs import empty_graph, output, run
from tests.support.tensors import gaussian

INT64 = ir.DataType.INT64
CONFIG = MarianConfig(d_model=16, encoder_attention_heads=2, decoder_attention_heads=2, decoder_layers=1)


def test_sizes_are_the_decoders_own():
    bart = BartConfig(
        decoder_layers=3, encoder_layers=1, decoder_attention_heads=4, encoder_attention_heads=2, d_model=64
    )
    assert (decoder_layers(bart), shape_of_heads(bart)) == (3, (4, 16))
    t5 = T5Config(num_layers=1, num_decoder_layers=5, num_heads=2, d_kv=24, d_model=64)
    assert (decoder_layers(t5), shape_of_heads(t5)) == (5, (2, 24))


def test_positions_go_on_behind_the_past():
    graph = empty_graph(ids=INT64, past=INT64)
    builder = GraphBuilder(graph)
    ids, past = graph.inputs
    output(graph, token_positions(builder, ids), "alone", INT64)
    output(graph, token_positions(builder, ids, past), "behind", INT64)
    output(graph, position_range(builder, past), "range", INT64)
    builder.append()
    actual = run(graph, ids=np.zeros((2, 3), np.int64), past=np.array([4], np.int64))
    assert [positions.tolist() for positions in actual] == [[0, 1, 2], [4, 5, 6], [0, 1, 2, 3]]


def attending():
    """A decoder of one layer that attends to what was written, then to the text."""
    shapes = {f"{name}.weight": (16, 16) for name in ("k", "v")}
    builder = ModelBuilder("decoder", shapes, False)
    ids = builder.input("input_ids", ["b", "s"], INT64)
    x = builder.input("x", ["b", "s", 16])
    caches = DecoderCaches(builder, CONFIG, ids)
    written = caches.self_attention(0, (x, x, x), 0.5)
    builder.output("out", caches.cross_attention(0, written, "k", "v", 0.5), ["b", "s", 16])
    caches.emit_outputs()
    graph = builder.build().graph
    for i, name in enumerate(shapes):
        graph.initializers[name].const_value = ir.tensor(gaussian(16, 16, seed=i).numpy())
    return graph


def test_two_steps_equal_one_and_the_text_is_read_once():
    graph = attending()
    names = [value.name for value in graph.outputs]
    text = {
        "encoder_attention_mask": np.array([[1, 1, 1, 0]], np.int64),
        "encoder_hidden_states": gaussian(1, 4, 16, seed=5).numpy(),
    }
    x = gaussian(1, 3, 16, seed=6).numpy()

    def step(part, cache, states=text["encoder_hidden_states"]):
        inputs = {**text, "encoder_hidden_states": states, **cache}
        actual = run(graph, input_ids=np.zeros(part.shape[:2], np.int64), x=part, **inputs)
        return dict(zip(names, actual, strict=True))

    def past(outputs):
        return {name.replace("present", "past_key_values"): v for name, v in outputs.items() if name != "out"}

    caches = [f"past_key_values.0.{side}.{part}" for side in ("decoder", "encoder") for part in ("key", "value")]
    empty = {name: np.zeros((1, 2, 0, 8), np.float32) for name in caches}
    at_once, first = step(x, empty), step(x[:, :2], empty)
    second = step(x[:, 2:], past(first), np.full_like(text["encoder_hidden_states"], np.nan))
    assert np.abs(second["out"] - at_once["out"][:, 2:]).max() < 1e-5
    assert second["present.0.decoder.key"].shape == (1, 2, 3, 8)
    assert np.array_equal(second["present.0.encoder.value"], first["present.0.encoder.value"])
    keys = torch.from_numpy(text["encoder_hidden_states"]) @ gaussian(16, 16, seed=0).T
    expected = keys.view(1, 4, 2, 8).transpose(1, 2).numpy()
    assert np.abs(first["present.0.encoder.key"] - expected).max() < 1e-5
