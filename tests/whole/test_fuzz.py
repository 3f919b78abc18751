"""Broken inputs for every reader: each is read, or refused in a line, within seconds and in little memory.

``make fuzz INPUTS=100000`` tries as many as asked. An input that a reader failed at is kept in ``tests/fuzz_cases``,
and tried again by `test_cases_of_before`.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.fuzzing import HangError, Input, Reader, inputs, peak_gigabytes, readers, try_input

CASES = Path(__file__).parents[1] / "fuzz_cases"
NAMES = (
    "header", "index", "pickle", "config", "encoder", "predict", "adapter", "tokenizer", "generation", "manifest",
    "ownership", "artifact", "graph", "report", "profile", "journal", "labels", "texts", "images", "task", "pipeline",
    "requirement", "tolerance",
)  # fmt: skip
FEW = 25
"""inputs a reader in ``make test``"""
BATCH = 5
"""inputs that are drawn at once, which takes less time"""
MOST_GIGABYTES = 1.0
"""that a reader may add to the most memory its process had held, which other tests may have filled"""


@pytest.fixture(scope="module")
def all_readers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reader]:
    return readers(tmp_path_factory.mktemp("fuzz"))


def run(reader: Reader, count: int) -> int:
    """Try so many inputs of a reader; how many were tried. What it fails at first is raised, as small as possible."""
    tried = 0

    @settings(
        max_examples=-(-count // BATCH),
        deadline=None,
        database=None,
        derandomize=count == FEW,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(inputs(reader), min_size=BATCH, max_size=BATCH))
    def check(batch: list[Input]) -> None:
        nonlocal tried
        for entry in batch:
            tried += 1
            try:
                try_input(reader, entry)
            except BaseException:
                _keep(entry)
                raise

    check()
    return tried


def cases() -> Iterator[tuple[str, Path]]:
    return ((file.stem.rpartition("-")[0], file) for file in sorted(CASES.glob("*.json")))


def _keep(entry: Input) -> None:
    """Write the input that a reader failed at last; smaller ones that follow take its place."""
    CASES.mkdir(exist_ok=True)
    for file in CASES.glob(f"{entry.reader}-new.json"):
        file.unlink()
    facts = {"file": entry.file, "content": base64.b64encode(entry.content).decode()}
    (CASES / f"{entry.reader}-new.json").write_text(json.dumps(facts) + "\n")


@pytest.mark.parametrize("name", NAMES)
def test_broken_inputs(all_readers: dict[str, Reader], name: str) -> None:
    assert tuple(all_readers) == NAMES
    before = peak_gigabytes()
    run(all_readers[name], FEW)
    assert peak_gigabytes() - before < MOST_GIGABYTES


@pytest.mark.parametrize(("name", "file"), list(cases()), ids=lambda value: getattr(value, "stem", value))
def test_cases_of_before(all_readers: dict[str, Reader], name: str, file: Path) -> None:
    facts = json.loads(file.read_text())
    error = try_input(all_readers[name], Input(name, facts["file"], base64.b64decode(facts["content"])))
    assert error is None or (error.exit_code in (2, 3) and str(error))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_broken_is_read(all_readers: dict[str, Reader], name: str, tmp_path: Path) -> None:
    reader = all_readers[name]
    for file, content in reader.files.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(content)
    reader.read(tmp_path)


def main(count: int, *names: str) -> int:
    """Try so many inputs, as many for each of the readers named, or of all; print figures, and a line for a failure.

    Returns the number of readers that failed.
    """
    failures, tried, begin = 0, 0, time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        everyone = {name: reader for name, reader in readers(Path(scratch)).items() if name in (names or NAMES)}
        for name, reader in everyone.items():
            start = time.monotonic()
            try:
                done = run(reader, -(-count // len(everyone)))
            except (Exception, HangError) as error:
                failures += 1
                case = CASES / f"{name}-new.json"
                saved = CASES / f"{name}-{sha256(case.read_bytes()).hexdigest()[:8]}.json"
                case.rename(saved)
                where = traceback.extract_tb(error.__traceback__)[-1]
                place = f"{where.filename}:{where.lineno}"
                print(f"{name}: {type(error).__name__}: {error} ({place}), kept as {saved.name}")
                continue
            tried += done
            print(f"{name}: {done} inputs, {time.monotonic() - start:.0f} s, {peak_gigabytes():.2f} GB", flush=True)
    seconds = time.monotonic() - begin
    print(f"{tried} inputs, {failures} readers failed, {seconds:.0f} s, at most {peak_gigabytes():.2f} GB of memory")
    return failures


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:]) > 0)
