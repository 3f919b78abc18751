"""Profiles load by name and by path; what is wrong with one is said in a line."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from compress.errors import UsageError
from compress.export.targets.base import find_target
from compress.pipeline.contract import GraphPass, WeightPass
from compress.pipeline.parse import Pipeline
from compress.profiles.loader import load_profile, profiles

GOOD = 'machine = "mine"\ntarget = "ort-cpu"\npipelines = ["int8,fuse", "fuse"]\n'


@pytest.mark.parametrize("name", sorted(profiles()))
def test_every_packaged_profile_works_on_its_target(name: str) -> None:
    profile = load_profile(name)
    target = find_target(profile.target)
    for pipeline in profile.pipelines:
        passes = Pipeline.parse(pipeline).passes
        target.check(passes)
        forms = {form for pass_ in passes if isinstance(pass_, WeightPass) for form in pass_.output_forms()}
        assert forms <= set(target.capability.forms)
        assert target.capability.graphs or not any(isinstance(pass_, GraphPass) for pass_ in passes)


def test_the_cpu_profile_tries_8_bits_first() -> None:
    profile = load_profile("cpu")
    assert (profile.target, profile.pipelines[0], profile.threads) == ("ort-cpu", "int8,fuse", None)


def test_a_profile_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD + "threads = 4\nprice_per_hour = 0.32\n")
    profile = load_profile(str(tmp_path / "mine.toml"))
    assert profile.price_per_hour == 0.32
    assert (profile.machine, profile.pipelines, profile.threads) == ("mine", ("int8,fuse", "fuse"), 4)
    with pytest.raises(FrozenInstanceError):
        profile.threads = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("machine = ", "is not valid TOML"),
        ('machine = "mine"\npipelines = ["fuse"]\n', "target: .*required"),
        (GOOD + "thread = 4\n", "thread: unexpected keyword argument"),
        (GOOD + "threads = 0\n", "threads: .*greater than or equal to 1"),
        (GOOD + "price_per_hour = 0\n", "price_per_hour: .*greater than 0"),
        (GOOD + 'price_per_hour = "1 USD"\n', "price_per_hour: .*valid number"),
        (GOOD + 'threads = "4"\n', "threads: .*valid integer"),
        (GOOD.replace('["int8,fuse", "fuse"]', "[]"), "pipelines: .*at least 1 item"),
        (GOOD.replace('["int8,fuse", "fuse"]', '"int8"'), "pipelines: .*valid tuple"),
        (GOOD.replace('"int8,fuse"', '"int9"'), "pipeline 'int9': unknown pass 'int9'; did you mean 'int8'"),
    ],
)
def test_a_bad_profile(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "bad.toml").write_text(content)
    with pytest.raises(UsageError, match=rf"bad\.toml.*{message}") as caught:
        load_profile(str(tmp_path / "bad.toml"))
    assert "\n" not in str(caught.value)


def test_a_profile_that_is_nowhere(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown profile 'cppu'; did you mean 'cpu'"):
        load_profile("cppu")
    with pytest.raises(UsageError, match=r"absent\.toml \(No such file or directory\)"):
        load_profile(str(tmp_path / "absent.toml"))


def test_a_profile_that_is_nested_too_deep_is_refused(tmp_path):
    (tmp_path / "deep.toml").write_text("machine = " + "[" * 50_000)
    with pytest.raises(UsageError, match="deep.toml is not valid TOML"):
        load_profile(str(tmp_path / "deep.toml"))
