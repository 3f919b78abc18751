"""``compress generate``: what a variant's own runtime writes."""

from __future__ import annotations

import json
import shutil


def test_a_variant_writes(variants, inside):
    out = variants
    done = inside("generate", out / "int8-fuse", "the quick", "-n", "5")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("the quick")  # what a random model adds may be unprintable
    again = inside("generate", out / "int8-fuse", "the quick", "-n", "5", "--temperature", "1", "--seed", "3")
    assert again.returncode == 0, again.stderr
    beams = ("generate", out / "int8-fuse", "the quick", "-n", "5", "--beams", "3")
    searched = inside(*beams)
    assert (searched.returncode, searched.stdout.startswith("the quick")) == (0, True)
    assert "remove one of them" in inside(*beams, "--temperature", "1").stderr


def test_a_library_that_a_variant_names_is_not_loaded(variants, inside, tmp_path):
    variant = shutil.copytree(variants / "int8-fuse", tmp_path / "variant")
    file = variant / "onnx" / "genai_config.json"
    config = json.loads(file.read_text())
    config["model"]["decoder"]["session_options"]["custom_ops_library"] = "evil.so"
    file.write_text(json.dumps(config))
    for command in (("generate", variant, "the"), ("score", variant, "--unverified")):
        done = inside(*command)
        assert done.returncode == 3
        assert "sets model.decoder.session_options.custom_ops_library, which" in done.stderr.splitlines()[-1]
