"""What engines share."""

import numpy as np

from compress.benchmarks.runtime.engine import mean_pooled


def test_pooling_of_an_empty_sentence_is_zero():
    hidden = np.ones((1, 3, 2), np.float32)
    assert mean_pooled(hidden, np.zeros((1, 3), np.int64)).tolist() == [[0.0, 0.0]]
