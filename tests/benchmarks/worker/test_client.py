"""A worker answers, fails and dies in ways that its parent can tell."""

import dataclasses
import os
import signal
import subprocess
import sys

import numpy as np
import psutil
import pytest

from compress.benchmarks.runtime.decoding import Sampling
from compress.benchmarks.worker.client import Worker
from compress.benchmarks.worker.protocol import Decode, Generate, Memory
from compress.errors import MissingComponentError, RunError


@pytest.fixture
def served(llama_fused, of_artifact):
    with Worker(of_artifact(llama_fused, "fused"), 1) as worker:
        yield worker


def test_generates_and_measures_itself(served, tokens):
    reply = served.send(Generate(tokens[0], 3))
    assert len(reply.steps) == 3
    assert len(reply.tokens) == 4
    assert min([reply.first, *reply.steps]) > 0
    assert served.load_seconds > 0


def test_the_serving_process_of_an_artifact_is_free_of_torch(served, tokens):
    served.send(Generate(tokens[0], 1))
    memory = served.send(Memory())
    assert memory.imports == ["numpy", "onnxruntime"]
    assert memory.peak_rss >= psutil.Process(served.pid).memory_info().rss * 0.9
    assert memory.phases.keys() == {"load", "prefill", "decode"}
    assert max(memory.phases.values()) <= memory.peak_rss


def test_a_batch_is_decoded_as_asked(served, tokens):
    prompts = tokens[:2, :16]
    greedy = [served.send(Generate(prompt, 3)).tokens for prompt in prompts]
    reply = served.send(Decode(prompts, 3))
    assert reply.tokens == greedy
    assert len(reply.steps) == 3 and min([reply.first, *reply.steps]) > 0
    assert served.send(Decode(prompts[:1], 3, beams=1)).tokens == greedy[:1]
    sampled = [served.send(Decode(prompts, 3, sampling=Sampling(top_k=9), seed=1)).tokens for _ in range(2)]
    assert sampled[0] == sampled[1]


def test_a_failed_request_is_told_and_the_worker_goes_on(served, tokens):
    with pytest.raises(RunError, match=r"fused: generate failed: .*input_ids|indices"):
        served.send(Generate(np.array([10**6]), 1))
    assert served.send(Generate(tokens[0], 0)).steps == []


def test_a_dead_worker_is_told(served, tokens):
    os.kill(served.pid, signal.SIGKILL)
    with pytest.raises(RunError, match=r"fused: its process died.*signal 9"):
        served.send(Memory())
    with pytest.raises(RunError, match="died"):
        served.send(Memory())


def test_the_last_words_of_a_dead_worker_are_told(llama_fused, of_artifact, tmp_path, monkeypatch):
    (tmp_path / "onnxruntime.py").write_text("import os\nos.write(2, b'first\\nno such instruction\\n')\nos._exit(9)\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(RunError, match=r"fused: its process died \(exit 9\): no such instruction"):
        Worker(of_artifact(llama_fused, "fused"), 1)


def test_nothing_in_the_current_folder_is_imported(llama_fused, of_artifact, tokens, tmp_path, monkeypatch):
    for name in ("numpy", "onnxruntime", "ml_dtypes", "compress"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(tmp_path)
    with Worker(of_artifact(llama_fused, "fused"), 1) as worker:
        assert len(worker.send(Generate(tokens[0], 1)).tokens) == 2


def test_a_missing_runtime_names_the_extra(llama_fused, of_artifact, tmp_path, monkeypatch):
    (tmp_path / "onnxruntime.py").write_text("raise ModuleNotFoundError('none', name='onnxruntime')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(MissingComponentError, match=r"onnxruntime: pip install 'compress-models\[cpu\]'"):
        Worker(of_artifact(llama_fused, "fused"), 1)


def test_a_broken_artifact_is_told(llama_fused, of_artifact, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    broken = dataclasses.replace(of_artifact(llama_fused, "broken"), path=tmp_path)
    with pytest.raises(RunError, match="broken: open failed"):
        Worker(broken, 1)


def test_a_worker_ends_with_its_parent():
    worker = subprocess.Popen(
        [sys.executable, "-m", "compress.benchmarks.worker.server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    worker.communicate(timeout=60)
    assert worker.returncode == 0


def test_prints_of_libraries_do_not_reach_the_answers(llama_fused, of_artifact, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import atexit\n")
    (tmp_path / "onnxruntime.py").write_text("print('hello')\nraise ValueError('printed first')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(RunError, match="printed first"):
        Worker(of_artifact(llama_fused, "fused"), 1)
