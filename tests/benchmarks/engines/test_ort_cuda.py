"""The engine for GPUs: its buffers and replays, run on the CPU."""

import numpy as np
import onnxruntime as ort
import pytest

from compress.benchmarks.engines.ort_cpu import OrtCpuEngine
from compress.benchmarks.engines.ort_cuda import OrtCudaEngine
from compress.benchmarks.runtime.ort import new_session
from compress.checkpoint.model import Model
from compress.errors import MissingComponentError
from compress.export.targets.base import find_target
from compress.modeling.kinds import DECODER, ENCODER
from compress.onnx_names import CUDA_PROVIDER
from compress.passes.fuse import Fuse
from compress.progress import Silent


class Recording(OrtCudaEngine):
    """The engine for GPUs, its buffers and replays and all, on the CPU."""

    device, _arena = "cpu", "cpu:0"
    _fetch, _fetch_last = OrtCpuEngine._fetch, OrtCpuEngine._fetch_last

    def _open(self, file, threads):
        self._records = True
        return new_session(file, threads)


def written(engine, prompt, steps):
    chosen = [engine.start(prompt, steps)]
    for _ in range(steps):
        chosen.append(engine.step(chosen[-1]))
    return chosen


@pytest.fixture
def halves(llama, tmp_path):
    """A fused decoder for GPUs, which ort-cpu runs as well."""
    return find_target("ort-cuda").export(Model.open(str(llama)), [Fuse()], tmp_path, Silent()).path


def test_steps_that_are_recorded_write_the_same(halves, tokens):
    plain, recording = OrtCpuEngine(halves, DECODER, 1), Recording(halves, DECODER, 1)
    plain.begin(tokens[:2, :20], 7)
    recording.begin(tokens[:2, :20], 7)
    for step in (tokens[:2, 20], tokens[:2, 21], tokens[:2, 22]):
        assert recording.append(step) == pytest.approx(plain.append(step), abs=1e-3)
    assert recording._graphs == 1
    for row, room in ((0, 6), (1, 6), (2, 9)):
        assert written(recording, tokens[row][:20], room) == written(plain, tokens[row][:20], room)
    assert recording._graphs == 3  # buffers of one size are used again
    assert recording.logits(tokens[0]) == pytest.approx(plain.logits(tokens[0]), abs=1e-3)
    for engine in (plain, recording):
        engine.begin(tokens[:2, :20], 4)
        engine.append(np.array([3, 4]))
        engine.reorder(np.array([1, 1, 0]))
    assert recording.append(np.array([5, 6, 7])) == pytest.approx(plain.append(np.array([5, 6, 7])), abs=1e-3)
    recording.begin(tokens[:1, :20], 0)
    recording.release()
    assert written(recording, tokens[0][:20], 6) == written(plain, tokens[0][:20], 6)


def test_a_batch_is_recorded_when_its_shape_comes_twice(bert_plain, tokens):
    plain, recording = OrtCpuEngine(bert_plain.path, ENCODER, 1), Recording(bert_plain.path, ENCODER, 1)
    mask = np.ones_like(tokens)
    for rows in (slice(0, 2), slice(1, 3), slice(0, 1), slice(0, 2)):
        expected = plain.embed(tokens[rows], mask[rows])
        assert recording.embed(tokens[rows], mask[rows]) == pytest.approx(expected, abs=1e-5)
    assert recording._graphs == 1


@pytest.mark.skipif(CUDA_PROVIDER in ort.get_available_providers(), reason="there is one")
def test_without_a_gpu_an_engine_for_one_is_a_missing_component(llama_fused):
    with pytest.raises(MissingComponentError, match=r"compress-models\[gpu\]"):
        OrtCudaEngine(llama_fused.path, DECODER, 1)
