"""The workflow files of the docs: against their schemas, and their shell steps run on a small model."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from tests.support.cli import install_quick_command

DOCS = Path(__file__).parents[2] / "docs"
FILES = {"github-workflows": "compress-gate.yml", "gitlab-ci": "compress-gate.gitlab-ci.yml"}
GITHUB, GITLAB = (yaml.safe_load((DOCS / "ci" / name).read_text()) for name in FILES.values())
INPUTS: dict[str, Any] = GITHUB[True]["workflow_call"]["inputs"]  # YAML 1.1 reads the key `on` as a boolean
JOB = GITHUB["jobs"]["gate"]
STEPS = {step["name"]: step for step in JOB["steps"] if "name" in step}


@pytest.mark.parametrize(("schema", "name"), FILES.items())
def test_a_file_is_what_its_ci_reads(schema: str, name: str) -> None:
    """By the schemas of SchemaStore, as check-jsonschema brings them."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", DOCS / "ci" / name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_input_is_pasted_into_a_shell() -> None:
    """A model's name must not become a command: inputs reach the steps as variables alone."""
    for step in JOB["steps"]:
        assert "${{" not in step.get("run", "")
    used = set(re.findall(r"\$\{\{ inputs\.(\w+) \}\}", str(JOB)))
    assert used == INPUTS.keys()


def test_the_example_calls_the_workflow_as_it_is() -> None:
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", (DOCS / "ci.md").read_text(), re.M | re.S)
    call = yaml.safe_load(example)["jobs"]["compress"]
    assert call["uses"].endswith(FILES["github-workflows"])
    assert call["with"].keys() <= INPUTS.keys()
    assert {name for name, facts in INPUTS.items() if facts.get("required")} <= call["with"].keys()


def shell(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A step as GitHub runs it, with this environment's commands; ours, in the folder's ``bin``, measures quickly."""
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "HF_HUB_OFFLINE": "1", **variables}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def job(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A job's folder after its first steps, and its variables."""
    folder = tmp_path_factory.mktemp("job")
    (folder / "bin").mkdir()
    install_quick_command(folder / "bin")
    variables = {name: facts.get("default", "") for name, facts in INPUTS.items()}
    named = {key: variables[re.fullmatch(r"\$\{\{ inputs\.(\w+) \}\}", value)[1]] for key, value in JOB["env"].items()}
    named |= {"MODEL": str(llama), "PIPELINES": "int8,fuse\nfuse\n"}
    done = shell(STEPS["Compress and score"]["run"], folder, **named)
    assert done.returncode == 0, done.stderr
    return folder, named


@pytest.mark.slow
def test_the_steps_of_github(job: tuple[Path, dict[str, str]]) -> None:
    folder, variables = job
    assert {"int8-fuse", "fuse", "report.json"} <= {path.name for path in (folder / "out").iterdir()}
    gate = STEPS["Gate"]["run"]
    first = shell(gate, folder, **variables, GITHUB_ACTIONS="true")
    assert (first.returncode, first.stdout) == (0, "nothing to gate on yet: no requirement, and no earlier report\n")

    summary = folder / "summary.md"
    environment = variables | {"REQUIRE": "kl<=9, bytes<=0.0001x", "GITHUB_STEP_SUMMARY": str(summary)}
    shut = shell(gate, folder, **environment, GITHUB_ACTIONS="true")
    assert shut.returncode == 1
    assert shut.stdout.count("::error title=compress gate::") == 2
    assert summary.read_text().count("✅") == summary.read_text().count("❌") == 2
    assert ElementTree.parse(folder / "gate.xml").getroot().get("failures") == "2"

    assert shell(STEPS["Make this the last good report"]["run"], folder).returncode == 0
    again = shell(gate, folder, **variables | {"TOLERANCE": "perplexity=0%, decode_tps=5%"})
    assert again.returncode == 0, again.stderr
    counts = ElementTree.parse(folder / "gate.xml").getroot()
    assert (counts.get("tests"), counts.get("failures")) == ("4", "0")


@pytest.mark.slow
def test_the_steps_of_gitlab(job: tuple[Path, dict[str, str]]) -> None:
    """All but the first, which would compress the same again."""
    folder, variables = job
    compress, *steps = GITLAB["compress-gate"]["script"]
    assert compress == 'compress "$MODEL" -p "$PIPELINE" -o out'
    environment = variables | GITLAB["compress-gate"]["variables"] | {"REQUIRE": "kl<=9"}
    for step in [*steps, steps[1]]:
        done = shell(step, folder, **environment)
        assert done.returncode == 0, done.stderr
    assert (folder / "gate-last.xml").exists()
    assert shell(steps[0], folder, **environment | {"REQUIRE": "kl<=0"}).returncode == 1
