"""`compress_model`: a variant is written complete or not at all, and what can't work is refused before the work."""

import pytest

from compress.api.compress_model import compress_model, resolve_for_targets
from compress.api.target_set import TargetSet
from compress.calibration.data import Calibration
from compress.checkpoint.model import Model
from compress.errors import UsageError
from compress.pipeline.parse import Pipeline
from tests.support.tensors import token_ids


@pytest.fixture
def model(untied):
    return Model.open(untied)


def test_a_variant_is_written_and_read_back(model, tmp_path):
    variant = compress_model(model, "int8:act=none", tmp_path / "v", seed=3)
    assert (variant.path, variant.manifest.pipeline, variant.manifest.seed) == (tmp_path / "v", "int8:act=none", 3)
    with pytest.raises(UsageError, match="v exists"):
        compress_model(model, "fp16", tmp_path / "v")
    again = compress_model(model, Pipeline.parse("fp16"), tmp_path / "v", overwrite=True)
    assert again.manifest.pipeline == "fp16"


def test_calibration_data_may_be_given_as_tensors(model, tmp_path):
    data = Calibration(token_ids(4, 16), "my tokens")
    variant = compress_model(model, "int8:act=dynamic", tmp_path / "v", calibration=data)
    assert variant.manifest.calibration == "my tokens, 4 windows of 16 tokens"


def test_a_failure_leaves_nothing(model, tmp_path):
    with pytest.raises(UsageError, match="nowhere.txt"):
        compress_model(model, "int4", tmp_path / "v", calibration=tmp_path / "nowhere.txt")
    with pytest.raises(UsageError, match="unknown pass 'itn8'"):
        compress_model(model, "itn8", tmp_path / "v")
    assert list(tmp_path.iterdir()) == []


def test_what_a_target_cannot_hold_is_known_in_advance(model):
    gptq = TargetSet.parse("hf", "gptq")
    with pytest.raises(UsageError, match="format gptq can't hold embeddings in integers"):
        resolve_for_targets(model, Pipeline.parse("int4"), gptq)
    resolved = resolve_for_targets(model, Pipeline.parse("int4:head=float:embed=float"), gptq)
    assert str(resolved.written) == "int4:head=float:embed=float"
    low_rank = Pipeline.parse("lowrank:rank=0.4:whiten=off")
    assert resolve_for_targets(model, low_rank, TargetSet.parse("hf", "compressed-tensors"), merge=True)
