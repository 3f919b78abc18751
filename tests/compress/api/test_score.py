"""The function `score` refuses what can't be measured before it exports or measures anything."""

import pytest

from compress.api.compress_model import compress_model
from compress.api.score import score
from compress.checkpoint.model import Model
from compress.errors import ModelError, UsageError


def test_what_can_not_be_measured_is_refused(llama, tmp_path):
    variant = compress_model(Model.open(llama), "fp16", tmp_path / "fp16")
    with pytest.raises(UsageError, match="no variant among the arguments"):
        score([])
    with pytest.raises(ModelError, match="fp16/onnx is not an artifact"):
        score([variant])
    with pytest.raises(UsageError, match="--labels is for classifiers and sentence encoders"):
        score([variant], unverified=True, labels=tmp_path / "labels.tsv")
    with pytest.raises(UsageError, match="none.txt"):
        score([str(variant.path)], unverified=True, evaluation=tmp_path / "none.txt")
