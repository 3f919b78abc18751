"""Sizes of the largest open models, from their own configs alone: as published, in seconds and without memory."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CONFIGS = Path(__file__).parents[2] / "data" / "configs"
BILLIONS = {
    "deepseek-v2.5": 235.7, "deepseek-v3": 671.0, "devstral-2-123b": 125.0, "falcon-180b": 178.6,
    "glm-4.5": 352.8, "glm-4.5-air": 106.9, "gpt-oss-120b": 116.8, "kimi-k2-instruct": 1026.0, "llama-3.1-405b": 405.9,
    "llama-3.1-70b": 70.6, "minimax-m2.7": 228.7, "minimax-text-01-hf": 456.1, "mixtral-8x22b": 140.6, "opt-66b": 65.7,
    "qwen2.5-72b-instruct": 72.7, "qwen3-235b-a22b": 235.1, "qwen3-coder-480b-a35b": 480.2, "qwen3-next-80b-a3b": 79.7,
    "yi-34b": 34.4, "gemma-3-27b-it": 27.4, "llama-4-scout": 108.6, "llama-4-maverick": 401.6,
}  # fmt: skip
"""Parameters as published, those that predict further tokens left out; of Gemma and Llama 4 with their vision tower."""
SCRIPT = """
import json, resource, sys, time
from pathlib import Path
from compress.pipeline.predict import ConfigOnlyModel, predict
from compress.pipeline.parse import Pipeline
from compress.export.targets.base import find_target
for folder in map(Path, sys.argv[1:]):
    begin = time.process_time()
    model = ConfigOnlyModel.read(folder)
    target = find_target("ort-cpu" if "falcon" in model.config.model_type else "hf").capability
    sizes = [predict(model, text and Pipeline.parse(text), target) for text in (None, "int8:group=channel")]
    seconds, peak = time.process_time() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps([folder.name, sizes[0].parameters, [s.nbytes for s in sizes], seconds, peak]))
"""


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What one process says of each: parameters, bytes as floats and in 8 bits, seconds, and its memory so far."""
    folders = [tmp_path_factory.mktemp("configs") / name for name in BILLIONS]
    for folder in folders:
        folder.mkdir()
        shutil.copy(CONFIGS / f"{folder.name}.json", folder / "config.json")
    command = [sys.executable, "-c", SCRIPT, *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return {name: rest for name, *rest in map(json.loads, done.stdout.splitlines())}


@pytest.mark.slow
@pytest.mark.parametrize("name", BILLIONS)
def test_a_large_model_is_sized_in_seconds(name: str, sizes: dict[str, list[Any]]) -> None:
    parameters, (floats, integers), seconds, peak = sizes[name]
    assert parameters == pytest.approx(BILLIONS[name] * 1e9, rel=0.01)
    assert floats >= 2 * parameters
    assert 0.98 * parameters < integers < 1.2 * parameters
    assert seconds < 10  # beside what loading the libraries takes
    assert peak < 1e9
