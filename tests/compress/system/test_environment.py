"""What libraries read when they load is set before they do, in this process and in those that it starts."""

import json
import os
import subprocess
import sys
import sysconfig

import pytest

from compress.system import cores, environment
from compress.system.environment import child_environment

SHOW = "import compress.cli, json, os, sys; print(json.dumps([dict(os.environ), sys.path]))"


def started(folder, **variables):
    """Variables and path of a command line that runs in a folder."""
    environment = {"PATH": os.environ["PATH"], **variables}
    command = [sys.executable, "-P", "-c", SHOW]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_threads_wait_politely_and_telemetry_is_off(tmp_path):
    environment, _ = started(tmp_path, DO_NOT_TRACK="0")
    assert environment["OMP_WAIT_POLICY"] == "passive"
    assert environment["PYDANTIC_DISABLE_PLUGINS"] == "__all__"
    assert [environment[name] for name in ("DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY", "ORT_DISABLE_TELEMETRY")] == [
        "1"
    ] * 3


def test_what_the_user_says_about_threads_stays_and_a_backend_that_names_code_does_not(tmp_path):
    environment, _ = started(
        tmp_path, OMP_WAIT_POLICY="active", MPLBACKEND="module://evil", ORT_LOAD_CONFIG_FROM_MODEL="1"
    )
    assert environment["OMP_WAIT_POLICY"] == "active"
    assert environment["MPLBACKEND"] == "agg"
    assert environment["ORT_LOAD_CONFIG_FROM_MODEL"] == "0"


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (":", ""), ("/x:", "/x"), (":/x", "/x"), ("", ""), ("/x", "/x"), (".", ""), ("./:/x", "/x"), ("src:/x", "/x"),
        ("/x:../y", "/x"),
    ],
)  # fmt: skip
def test_entries_of_the_path_that_depend_on_the_current_folder_are_dropped(tmp_path, entries, expected):
    environment, path = started(tmp_path, PYTHONPATH=entries)
    assert environment["PYTHONPATH"] == expected
    assert not {str(tmp_path), str(tmp_path / "src"), str(tmp_path.parent / "y")} & set(path)


def test_a_relative_path_to_our_own_packages_stays(tmp_path):
    packages = os.path.relpath(sysconfig.get_path("purelib"), tmp_path)
    environment, path = started(tmp_path, PYTHONPATH=packages)
    assert environment["PYTHONPATH"] == ""
    assert sysconfig.get_path("purelib") in path


def test_a_path_that_names_the_current_folder_stays(tmp_path):
    assert str(tmp_path) in started(tmp_path, PYTHONPATH=f":{tmp_path}")[1]


@pytest.mark.parametrize(("limit", "expected"), [(None, None), (1, "1")])
def test_threads_are_as_many_as_a_quota_allows(monkeypatch, limit, expected):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(cores, "quota", lambda: limit)
    monkeypatch.setattr(environment, "quota", lambda: limit)
    environment.prepare_process()
    assert os.environ.get("OMP_NUM_THREADS") == expected
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    environment.prepare_process()
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_a_process_that_is_started_gets_the_same(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "module://evil")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    environment = child_environment({"HF_HUB_OFFLINE": "1"})
    assert (environment["MPLBACKEND"], environment["OMP_WAIT_POLICY"]) == ("agg", "active")
    assert (environment["HF_HUB_OFFLINE"], environment["ORT_DISABLE_TELEMETRY"]) == ("1", "1")
    monkeypatch.delenv("OMP_WAIT_POLICY")
    assert child_environment()["OMP_WAIT_POLICY"] == "passive"


def test_a_process_that_is_started_asks_for_huge_pages(monkeypatch):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    assert child_environment()["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=3")
    assert child_environment()["GLIBC_TUNABLES"] == "glibc.malloc.check=3"
