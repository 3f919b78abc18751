"""The pass that CONTRIBUTING adds works as it is printed there, its test included."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "CONTRIBUTING.md"
# In a process of its own, so that the example doesn't join the passes of the other tests.
JOIN = "import compress.passes\n\ncompress.passes.__path__.append({room!r})\n"
USE = """
from compress.pipeline.contract import passes
from compress.pipeline.parse import Pipeline


def test_it_is_known_everywhere():
    assert passes()["trim"].options()["ratio"].description == "share of every row that becomes zero"
    assert str(Pipeline.parse("trim:ratio=0.3,int8,fuse")) == "trim:ratio=0.3,int8,fuse"
"""


@pytest.mark.slow
def test_the_guide_is_true_to_the_letter(tmp_path: Path) -> None:
    files = dict(re.findall(r"^`([\w/]+\.py)`:\n\n```python\n(.*?)^```$", GUIDE.read_text(), re.M | re.S))
    assert sorted(files) == ["passes/trim.py", "tests/passes/test_trim.py"]
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "conftest.py").write_text(JOIN.format(room=str(tmp_path / "passes")))
    (tmp_path / "test_use.py").write_text("import compress.passes.trim\n" + USE)
    command = [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", "--rootdir", tmp_path, tmp_path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
