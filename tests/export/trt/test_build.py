"""The command that builds an engine, and an engine that can't be built here."""

from __future__ import annotations

import pytest

from compress.checkpoint.model import Model
from compress.errors import MissingComponentError
from compress.export.targets.tensorrt import TensorRt
from compress.progress import Silent


def export(checkpoint, out):
    out.mkdir()
    return TensorRt().export(checkpoint, (), out, Silent())


def test_the_command_names_shapes_to_read_with_and_to_go_on_with(tiny, tmp_path):
    artifact = export(Model.open(str(tiny("LlamaForCausalLM", num_hidden_layers=1))), tmp_path / "a")
    cache = "past_key_values.0.{}:{}"

    def shapes(batch, new, old):
        past = [cache.format(part, f"{batch}x2x{old}x16") for part in ("key", "value")]
        return ",".join(
            [f"input_ids:{batch}x{new}", f"attention_mask:{batch}x{new + old}", f"position_ids:{batch}x{new}", *past]
        )

    assert (artifact.path / "build.sh").read_text().splitlines() == [
        "#!/usr/bin/env bash",
        "set -euo pipefail",
        'cd "$(dirname "$0")"',
        "trtexec \\",
        "  --onnx=model.onnx \\",
        "  --saveEngine=engine.plan \\",
        "  --timingCacheFile=timing.cache \\",
        "  --skipInference \\",
        "  --profile=0 \\",
        f"  --minShapes={shapes(1, 1, 0)} \\",
        f"  --optShapes={shapes(1, 64, 0)} \\",
        f"  --maxShapes={shapes(16, 128, 0)} \\",
        "  --profile=1 \\",
        f"  --minShapes={shapes(1, 1, 1)} \\",
        f"  --optShapes={shapes(1, 1, 64)} \\",
        f"  --maxShapes={shapes(16, 1, 127)}",
    ]
    assert (artifact.path / "build.sh").stat().st_mode & 0o111


def test_without_a_gpu_there_is_no_engine(untied, tmp_path, monkeypatch):
    monkeypatch.setattr("compress.export.trt.build.find_spec", lambda name: None)
    model = Model.open(str(untied))
    artifact = export(model, tmp_path / "a")
    with pytest.raises(MissingComponentError, match=r"no engine was built: .*'compress-models\[gpu\]'; .* is written"):
        TensorRt().complete(model, artifact.path)
    assert not (artifact.path / "engine.plan").exists()
