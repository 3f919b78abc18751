"""``compress generate``: what a variant's own runtime writes."""

from __future__ import annotations


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
