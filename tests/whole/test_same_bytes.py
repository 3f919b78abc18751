"""The same commands, seed and machine give the same bytes, wherever they are written and however Python hashes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = (
    ("-p", "int8,fuse", "-p", "int4:group=32:compensate=4,fuse:kv=int8", "-p", "lowrank:rank=0.5",
     "-p", "prune:ratio=0.25,sparse24", "-p", "fp16", "-o", "out"),
    ("-p", "int8", "--target", "gguf", "-o", "out-gguf"),
    ("-p", "int4:group=32:embed=float:head=float", "--target", "hf", "--format", "gptq", "-o", "out-hf"),
)  # fmt: skip
"""Seven recipes."""
SCRIPT = """
import json, sys
from compress.cli.main import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["compress", *arguments]
    try:
        main()
    except SystemExit as done:
        assert not done.code, done.code
"""
"""The commands in one process, whose imports take longer than they do."""


def run_in(folder: Path, model: Path, hash_seed: int) -> dict[str, bytes]:
    """The files that the commands write in a folder by their paths; manifests without how long things took."""
    folder.mkdir(parents=True)
    options = ("--no-score", "--seed", "3", "--samples", "4", "--length", "16")
    commands = [[str(model), *command, *options] for command in COMMANDS]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands)], cwd=folder, env=environment, check=True, timeout=600
    )
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: without_times(path.read_text()) if name.endswith("compress.json") else path.read_bytes()
            for name, path in files.items()}  # fmt: skip


def without_times(manifest: str) -> bytes:
    """A manifest's JSON, but for the seconds that each block took."""
    facts = json.loads(manifest, object_hook=lambda entry: {k: v for k, v in entry.items() if k != "seconds"})
    return json.dumps(facts).encode()


@pytest.mark.slow
def test_seven_recipes_made_twice_are_the_same_to_the_byte(untied, tmp_path):
    first = run_in(tmp_path / "a", untied, hash_seed=0)
    second = run_in(tmp_path / "a-longer-name" / "and-a-deeper-one", untied, hash_seed=4242)
    assert len([name for name in first if name.endswith("compress.json")]) == 7
    assert sorted(first) == sorted(second)
    assert [name for name in first if first[name] != second[name]] == []


def test_times_are_all_that_a_comparison_leaves_out():
    manifest = json.dumps({"seed": 3, "blocks": [{"name": "a", "seconds": 1.5}]})
    assert json.loads(without_times(manifest)) == {"seed": 3, "blocks": [{"name": "a"}]}
