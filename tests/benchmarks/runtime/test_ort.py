"""Caches of ONNX Runtime, bound as a graph's inputs and outputs."""

import numpy as np
import onnxruntime as ort
import pytest
from ml_dtypes import bfloat16

from compress.benchmarks.runtime.ort import DTYPES, GrowingCache, SharedCache, empty

NAMES = ["past_key_values.0.key", "past_key_values.0.value"]
SHAPES = [[1, 2, 0, 4], [1, 2, 0, 4]]
FLOAT, INT8 = DTYPES["tensor(float)"], DTYPES["tensor(int8)"]


class Binding:
    """Keeps what is bound."""

    def __init__(self):
        self.bound = []

    def bind_ortvalue_input(self, name, value):
        self.bound.append((name, value.shape()))

    def bind_ortvalue_output(self, name, value):
        self.bound.append((name, value.shape()))

    def bind_output(self, name, device):
        self.bound.append((name, device))


def test_a_shared_cache_binds_one_buffer_twice_and_only_once():
    cache = SharedCache(Binding(), NAMES, SHAPES, [FLOAT, FLOAT], capacity=8, batch=3)
    cache.bind()
    cache.bind()
    assert cache.binding.bound == [
        (name, [3, 2, 8, 4])
        for name in ("past_key_values.0.key", "present.0.key", "past_key_values.0.value", "present.0.value")
    ]


def test_a_growing_cache_takes_what_a_run_left():
    cache = GrowingCache(Binding(), NAMES, SHAPES, [FLOAT, FLOAT], capacity=8, batch=1)
    cache.bind()
    present = [ort.OrtValue.ortvalue_from_numpy(np.zeros((1, 2, 5, 4), np.float32)) for _ in NAMES]
    cache.update(present, 5)
    cache.bind()
    assert cache.length == 5
    assert cache.binding.bound[:2] == [("past_key_values.0.key", [1, 2, 0, 4]), ("present.0.key", "cpu")]
    assert cache.binding.bound[4:6] == [("past_key_values.0.key", [1, 2, 5, 4]), ("present.0.key", "cpu")]


def test_a_tokens_bytes_follow_from_shapes_and_types():
    cache = SharedCache(Binding(), NAMES, SHAPES, [FLOAT, INT8], capacity=8, batch=3)
    assert cache.token_bytes == 2 * 4 * (4 + 1)


def test_rows_are_copied_as_far_as_there_are_tokens_and_bound_anew():
    cache = SharedCache(Binding(), NAMES[:1], SHAPES[:1], [FLOAT], capacity=4, batch=2)
    tokens = np.arange(64, dtype=np.float32).reshape(2, 2, 4, 4)
    cache.values = [ort.OrtValue.ortvalue_from_numpy(tokens)]
    cache.bind()
    cache.update([], 3)
    cache.reorder(np.array([1, 0, 1]))
    assert (cache.values[0].numpy()[:, :, :3] == tokens[[1, 0, 1], :, :3]).all()
    cache.bind()
    assert [shape for _, shape in cache.binding.bound] == [[2, 2, 4, 4]] * 2 + [[3, 2, 4, 4]] * 2


@pytest.mark.parametrize(("dtype", "name"), [(np.float16, "float16"), (bfloat16, "bfloat16"), (np.int8, "int8")])
def test_empty_tensors_have_the_type_asked_for(dtype, name):
    value = empty([2, 3], np.dtype(dtype), "cpu")
    assert (value.shape(), value.data_type()) == ([2, 3], f"tensor({name})")
