"""The engine's caches, profiles and buffers, with TensorRT and CUDA played by this process."""

import ctypes
import importlib
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from compress.benchmarks.runtime.engine import BatchedEngine, DeviceEngine, TimedEngine
from compress.errors import RunError
from compress.modeling.kinds import DECODER, ENCODER
from tests.support.cuda import play_cuda

VOCABULARY, HEADS, SIZE, LONGEST = 7, 2, 3, 16
TABLE = np.random.default_rng(0).normal(size=(VOCABULARY, VOCABULARY)).astype(np.float32)
KEYS = np.random.default_rng(1).normal(size=(VOCABULARY, HEADS, SIZE)).astype(np.float32)
DECODER_SHAPES = {
    "input_ids": (-1, -1),
    "attention_mask": (-1, -1),
    "position_ids": (-1, -1),
    "past_key_values.0.key": (-1, HEADS, -1, SIZE),
    "logits": (-1, -1, VOCABULARY),
    "present.0.key": (-1, HEADS, -1, SIZE),
}
ENCODER_SHAPES = {"input_ids": (-1, -1), "attention_mask": (-1, -1), "last_hidden_state": (-1, -1, VOCABULARY)}


def expected_logits(ids):
    """A token's row of the table, times the sum of everything in the cache: it depends on all that was read."""
    return TABLE[ids] * KEYS[ids].sum((-1, -2)).cumsum(-1)[..., None]


class Context:
    """Runs the decoder or the encoder on the addresses that it was given."""

    def __init__(self, engine):
        self.engine, self.shapes, self.addresses, self.profile = engine, {}, {}, None

    def set_optimization_profile_async(self, profile, stream):
        self.profile = profile

    def set_input_shape(self, name, shape):
        self.shapes[name] = tuple(shape)
        return max(shape) <= LONGEST

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def get_tensor_shape(self, name):
        return (*self.shapes["input_ids"], VOCABULARY)

    def execute_async_v3(self, stream):
        ids = self._array("input_ids", np.int64)
        self.engine.runs.append((self.profile, ids.shape))
        if "logits" not in self.engine.shapes:
            self._array("last_hidden_state", np.float32, self.get_tensor_shape(""))[:] = TABLE[ids]
            return True
        past = self._array("past_key_values.0.key", np.float32)
        batch, length = len(ids), past.shape[2] + ids.shape[1]
        assert self.shapes["attention_mask"] == (batch, length)
        assert (self._array("position_ids", np.int64) == np.arange(past.shape[2], length)).all()
        present = self._array("present.0.key", np.float32, (batch, HEADS, length, SIZE))
        present[:] = np.concatenate([past, KEYS[ids].transpose(0, 2, 1, 3)], 2)
        sums = present.sum((1, 3)).cumsum(-1)[:, past.shape[2] :]
        self._array("logits", np.float32, self.get_tensor_shape(""))[:] = TABLE[ids] * sums[..., None]
        return True

    def _array(self, name, dtype, shape=None):
        shape = self.shapes[name] if shape is None else shape
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = (ctypes.c_char * nbytes).from_address(self.addresses[name])
        return np.frombuffer(memory, dtype).reshape(shape)


class Plan:
    """A deserialized engine; ``runs`` are the profile and the ids' shape of each."""

    def __init__(self, shapes):
        self.shapes, self.runs = shapes, []
        self.num_io_tensors, self.num_optimization_profiles = len(shapes), 2

    def get_tensor_name(self, i):
        return list(self.shapes)[i]

    def get_tensor_mode(self, name):
        return "output" if name.startswith(("logits", "last_hidden_state", "present.")) else "input"

    def get_tensor_dtype(self, name):
        return "int64" if "_ids" in name or "mask" in name else "float32"

    def get_tensor_shape(self, name):
        return self.shapes[name]

    def create_execution_context(self):
        return Context(self)


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """``opened(shapes)``: an engine, and what it runs."""
    play_cuda(monkeypatch)
    trt = ModuleType("tensorrt")
    trt.Logger = type("Logger", (), {"ERROR": 0, "__init__": lambda self, level: None})
    trt.TensorIOMode, trt.DataType = SimpleNamespace(INPUT="input", OUTPUT="output"), SimpleNamespace(BF16="bf16")
    trt.nptype = np.dtype
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    name = "compress.benchmarks.engines.tensorrt"
    monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "engine.plan").write_bytes(b"plan")

    def make(shapes, kind=DECODER):
        plan = shapes and Plan(shapes)
        trt.Runtime = lambda logger: SimpleNamespace(deserialize_cuda_engine=lambda content: plan)
        return importlib.import_module(name).TensorrtEngine(tmp_path, kind, 1), plan

    yield make
    for module in (name, "compress.benchmarks.runtime.cuda"):
        sys.modules.pop(module, None)


def test_decoding_with_caches_equals_one_run(opened):
    engine, plan = opened(DECODER_SHAPES)
    assert isinstance(engine, BatchedEngine) and isinstance(engine, DeviceEngine) and isinstance(engine, TimedEngine)
    prompt = np.array([1, 2, 3])
    tokens = [engine.start(prompt, 4)]
    while len(tokens) < 5:
        tokens.append(engine.step(tokens[-1]))
    window = np.concatenate([prompt, tokens[:-1]])
    assert tokens == expected_logits(window)[2:].argmax(-1).tolist()
    assert engine.logits(window) == pytest.approx(expected_logits(window), abs=1e-5)
    assert plan.runs == [(0, (1, 3)), *[(1, (1, 1))] * 4, (0, (1, 7))]  # prompts and tokens, each in its profile
    assert engine.token_bytes() == HEADS * SIZE * 4


def test_rows_of_the_cache_are_reordered(opened):
    engine, _ = opened(DECODER_SHAPES)
    prompts = np.array([[1, 2], [3, 4]])
    engine.begin(prompts, 2)
    engine.reorder(np.array([1, 1]))
    logits = engine.append(np.array([5, 6]))
    for row, token in zip(logits, (5, 6), strict=True):
        assert row == pytest.approx(expected_logits(np.array([3, 4, token]))[-1], abs=1e-5)


def test_sentences_are_pooled_over_their_mask(opened):
    engine, _ = opened(ENCODER_SHAPES, ENCODER)
    ids, mask = np.array([[1, 2, 0], [3, 4, 5]]), np.array([[1, 1, 0], [1, 1, 1]])
    assert engine.embed(ids, mask) == pytest.approx(np.stack([TABLE[[1, 2]].mean(0), TABLE[[3, 4, 5]].mean(0)]))


def test_what_does_not_fit_is_told(opened):
    with pytest.raises(RunError, match="engine.plan is for another GPU or another TensorRT; build.sh beside it"):
        opened(None)
    engine, _ = opened(DECODER_SHAPES)
    with pytest.raises(RunError, match="a step before the prompt"):
        engine.step(1)
    with pytest.raises(RunError, match="the engine was not built for input_ids of shape 1x17"):
        engine.logits(np.zeros(17, np.int64))
