"""Encoder-decoders: one embedding for both graphs, a gate that sees what a graph leaves out, refusals, engines."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest
import torch

from compress.benchmarks.engines.seq2seq.ort_cpu import OrtCpuSeq2SeqEngine
from compress.benchmarks.engines.seq2seq.torch import TorchSeq2SeqEngine
from compress.checkpoint.files.artifact import Artifact
from compress.checkpoint.model import Model
from compress.errors import ExportError, ModelError, UsageError
from compress.export.parity.compare import check_close
from compress.export.parity.sample import sample_input
from compress.export.parity.seq2seq_reference import reference_traces
from compress.export.seq2seq.graphs import DECODER, ENCODER
from compress.export.targets.base import find_target
from compress.modeling.kinds import SEQ2SEQ
from compress.pipeline.parse import Pipeline
from compress.pipeline.resolve import resolve_for
from compress.progress import Silent
from tests.support.passes import make_variant

SIZES = {
    "encoder_attention_heads": 1, "decoder_attention_heads": 1, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96,
    "encoder_layers": 1, "decoder_layers": 2, "d_model": 64, "max_position_embeddings": 64, "init_std": 0.3,
    "decoder_start_token_id": 1, "forced_eos_token_id": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def marian(random_model):
    return random_model("MarianMTModel", **SIZES)


@pytest.fixture(scope="module")
def exported(marian, tmp_path_factory):
    out = tmp_path_factory.mktemp("onnx")
    find_target("ort-cpu").export(Model.open(str(marian)), (), out, Silent())
    return out


def stored(file):
    """Where each large tensor of a graph lies."""
    graph = onnx.load(file, load_external_data=False).graph
    return {
        value.name: [(e.key, e.value) for e in value.external_data]
        for value in graph.initializer
        if value.external_data
    }


def test_both_graphs_point_at_the_same_embedding(exported):
    encoder, decoder = stored(exported / ENCODER), stored(exported / DECODER)
    assert encoder["model.shared.weight"] == decoder["model.shared.weight"]
    assert len(list(exported.glob("*.data"))) == 1


def test_names_are_those_that_optimum_gives(exported):
    graph = onnx.load(exported / DECODER, load_external_data=False).graph
    past = [
        f"past_key_values.{i}.{side}.{part}"
        for i in (0, 1)
        for side in ("decoder", "encoder")
        for part in ("key", "value")
    ]
    assert [value.name for value in graph.input] == [
        "input_ids",
        "encoder_attention_mask",
        "encoder_hidden_states",
        *past,
    ]
    assert [value.name for value in graph.output] == [
        "logits",
        *(name.replace("past_key_values", "present") for name in past),
    ]


def test_writing_a_token_reads_no_encoder_and_nothing_that_made_a_cache(exported):
    attention, mlp = 64 * 64 + 64, 2 * 96 * 64 + 96 + 64
    layers = 2 * (6 * attention + mlp + 3 * 2 * 64)  # of eight projections, without cross-attention's keys and values
    assert Artifact.open(exported).read_bytes == 4 * (layers + 322 * 64 + 322)  # the head and its bias


def test_scales_are_read_in_the_type_that_the_runtime_casts_them_to(marian, tmp_path):
    variant = make_variant(marian, "int8", find_target("ort-cpu").capability, tmp_path / "variant")
    artifact = find_target("ort-cpu").export(variant, (), tmp_path, Silent())
    attention = 64 * 64 + 4 * (64 + 64)  # codes, a scale a channel, and the bias
    mlp = 96 * 64 + 4 * (96 + 96) + 64 * 96 + 4 * (3 * 64 + 64)
    head = 322 * 64 + 4 * (322 + 322)
    assert artifact.read_bytes == 2 * (6 * attention + mlp + 4 * 3 * 2 * 64) + head


def test_codes_are_read_as_wide_as_the_runtime_makes_them(marian, tmp_path):
    """6 bits in 8, with float scales; of the tied table, which is 6 bits too, what the head reads."""
    variant = make_variant(
        marian, "int6:solver=rtn:embed=int6:head=int6", find_target("ort-cpu").capability, tmp_path / "v"
    )
    artifact = find_target("ort-cpu").export(variant, (), tmp_path, Silent())
    attention, mlp = 64 * 64 * 9 // 8 + 4 * 64, 2 * 96 * 64 * 9 // 8 + 4 * (96 + 64)
    head = 322 * 64 * 9 // 8 + 4 * 322
    assert artifact.read_bytes == 2 * (6 * attention + mlp + 4 * 3 * 2 * 64) + head


def test_the_engines_write_what_transformers_writes(marian, exported):
    ids = torch.arange(5, 25)
    engines = OrtCpuSeq2SeqEngine(exported, SEQ2SEQ, 1), TorchSeq2SeqEngine(marian, SEQ2SEQ, 1)
    module = Model.open(str(marian)).torch_module()
    expected = module.generate(
        ids[None], max_new_tokens=8, do_sample=False, num_beams=1, eos_token_id=None, bad_words_ids=None
    )
    for engine in engines:
        written = [engine.start(ids.numpy(), 8)]
        while len(written) < 8:
            written.append(engine.step(written[-1]))
        assert written == expected[0, 1:].tolist()
    ort, reference = (engine.logits(ids.numpy()) for engine in engines)
    assert ort == pytest.approx(reference, abs=1e-3)
    assert engines[0].token_bytes() == engines[1].token_bytes() == 2 * 2 * 64 * 4


def test_the_gate_sees_padding_that_is_not_hidden(marian, exported):
    model = Model.open(str(marian))
    graph = ir.load(exported / ENCODER)
    for node in graph.graph:
        if node.op_type == "Attention":
            node.replace_input_with(3, None)
    ir.save(graph, exported / "unmasked.onnx")
    traces = reference_traces(model.torch_module(), sample_input(model))
    check_close(exported / ENCODER, traces[ENCODER])
    with pytest.raises(ExportError, match=r"differs from torch in last_hidden_state \(a padded batch\)"):
        check_close(exported / "unmasked.onnx", traces[ENCODER])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prune:what=blocks", "an encoder-decoder's layers can't be dropped; use what=mlp"),
        ("prune:what=heads", "can't say fewer heads of the same size; use what=mlp$"),
        ("fuse:kv=int8", "an encoder-decoder's cache is float; leave out kv=int8"),
    ],
)
def test_what_cannot_work_is_refused(marian, text, message):
    with pytest.raises(UsageError, match=message):
        resolve_for(Pipeline.parse(text).passes[0], Model.open(str(marian)), find_target("ort-cpu").capability)


def test_tensorrt_has_no_graph_of_it(marian):
    with pytest.raises(UsageError, match="tensorrt cannot export marian models; use --target hf"):
        resolve_for(Pipeline.parse("fp16").passes[0], Model.open(str(marian)), find_target("tensorrt").capability)


def test_an_encoder_and_a_decoder_with_tables_of_their_own_are_refused(random_model):
    path = random_model("MarianMTModel", **SIZES, share_encoder_decoder_embeddings=False)
    with pytest.raises(ModelError, match="encoder and decoder don't share their embedding"):
        Model.open(str(path))
