"""Other tools' builds of a model: written as those tools expect it, and absent without harm."""

from __future__ import annotations

import importlib.util

import gguf
import numpy as np
import pytest

from compress.benchmarks.project import peers
from compress.benchmarks.project.goals import GENAI, GENAI_ORT, LLAMA
from compress.benchmarks.results.contender import Contender
from compress.benchmarks.results.findings import findings
from compress.benchmarks.runtime.load import load_engine
from compress.benchmarks.runtime.specs import ENGINES, EngineSpec
from compress.checkpoint.model import Model
from compress.errors import RunError
from compress.modeling.kinds import DECODER

ABSENT = EngineSpec("nobody's", "", (), libraries=("a_module_of_nobody",), extra="peers")
PRESENT = EngineSpec("json", "", (), libraries=("json",), extra="peers")
WINDOW = np.arange(3, 33, dtype=np.int64)


@pytest.fixture(scope="module")
def model(tiny):
    return Model.open(str(tiny("LlamaForCausalLM", tie_word_embeddings=True)))


@pytest.fixture(scope="module")
def untied_model(tiny):
    return Model.open(str(tiny("LlamaForCausalLM", tie_word_embeddings=False)))


@pytest.fixture(scope="module")
def genai(model, tmp_path_factory):
    pytest.importorskip("onnxruntime_genai")
    return {contender.name: contender for contender in peers.build_genai(model, tmp_path_factory.mktemp("genai"))}


def greedy(engine, steps):
    tokens = [engine.start(WINDOW, steps)]
    for _ in range(steps):
        tokens.append(engine.step(tokens[-1]))
    return tokens


def test_q4_0_comes_from_its_own_quantizer(model, untied_model, tmp_path):
    pytest.importorskip("llama_cpp")
    for source in (model, untied_model):
        out = tmp_path / str(source.tied)
        out.mkdir()
        (contender,) = peers.build_llama(source, out)
        assert [file.name for file in out.iterdir()] == ["model.gguf"]
        tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(out / "model.gguf").tensors}
        assert tensors["blk.0.ffn_down.weight"].tensor_type == gguf.GGMLQuantizationType.Q4_0
        table = 0 if source.tied else int(tensors["token_embd.weight"].n_bytes)
        assert contender.read_bytes == sum(int(tensor.n_bytes) for tensor in tensors.values()) - table
        assert (contender.name, contender.role, contender.disk_bytes) == (
            LLAMA,
            "peer",
            (out / "model.gguf").stat().st_size,
        )


@pytest.mark.slow
def test_genai_runs_in_its_own_loop_and_in_plain_onnx_runtime(genai):
    own, plain = (
        load_engine(contender.engine, contender.path, DECODER, 1) for contender in (genai[GENAI], genai[GENAI_ORT])
    )
    assert np.abs(own.logits(WINDOW) - plain.logits(WINDOW)).max() < 1e-4
    assert greedy(own, 8) == greedy(plain, 8)
    assert own.token_bytes() == plain.token_bytes() == 2 * 2 * 2 * 16 * 4


@pytest.mark.slow
def test_genai_reads_nearly_all_that_it_stores(genai):
    assert genai[GENAI].read_bytes == genai[GENAI_ORT].read_bytes
    stored = (genai[GENAI].path / "model.onnx.data").stat().st_size
    assert 0.9 * stored < genai[GENAI].read_bytes <= stored


def test_a_tool_that_is_missing_or_fails_is_named_and_left_out(model, tmp_path, monkeypatch):
    def fail(model, out):
        raise RunError("no such kernel")

    monkeypatch.setattr(
        peers,
        "PEERS",
        (peers.Peer(("absent",), ABSENT, fail), peers.Peer(("broken",), PRESENT, fail)),
    )
    assert peers.build_peers(model, tmp_path, 1) == (
        [],
        [
            "absent: not measured, a_module_of_nobody is missing: pip install 'compress-models[peers]'",
            "broken: not measured, it doesn't work here: no such kernel",
        ],
    )


def test_a_tool_whose_process_dies_is_left_out(model, tmp_path, monkeypatch):
    def broken(model, out):
        (out / "model.onnx").write_bytes(b"no graph")
        return [Contender.of_peer("broken", out, "ort-cpu", "", model, model.parameters, 1)]

    monkeypatch.setattr(peers, "PEERS", (peers.Peer(("broken",), PRESENT, broken),))
    contenders, (line,) = peers.build_peers(model, tmp_path, 1)
    assert contenders == []
    assert line.startswith("broken: not measured, it doesn't work here: broken: open failed: ")


def test_every_engine_of_a_peer_exists():
    assert {name for peer in peers.PEERS for name in peer.names} == {GENAI, GENAI_ORT, LLAMA}
    for peer in peers.PEERS:
        assert ENGINES[peer.engine.name] is peer.engine
        (library,) = peer.engine.libraries
        if importlib.util.find_spec(library) is not None:
            module = importlib.import_module(f"compress.benchmarks.engines.{peer.engine.module}")
            assert hasattr(module, peer.engine.cls)


def test_a_peer_is_not_ours_to_complain_of(card):
    fast = {"decode_tps": [100.0, 100.0]}
    scored = card(torch=fast, onnx=fast, other={"decode_tps": [50.0, 50.0]})
    peer = scored.rows[2].model_copy(update={"role": "peer"})
    assert findings(scored) == ["other is SLOWER than onnx at decoding: 0.50× its speed"]
    assert findings(scored.model_copy(update={"rows": (*scored.rows[:2], peer)})) == []
