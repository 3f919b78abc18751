"""Programs that are run to their end, and how their failures read."""

import sys

import pytest

from compress.errors import RunError
from compress.system.process import python_command, run_process


def python(code):
    return [sys.executable, "-c", code]


def test_output_is_returned_with_the_environment_that_is_set():
    code = "import os; print(os.environ['WORD'], len(os.environ))"
    assert run_process(python(code), "a program", environment={"WORD": "x", "LC_ALL": "C"}) == "x 2\n"


def test_output_that_is_not_captured_passes_through(capfd):
    assert run_process(python("print('through')"), "a program", capture=False) == ""
    assert capfd.readouterr().out == "through\n"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; print('first\\nlast', file=sys.stderr); sys.exit(3)", "a program ended with 3: last"),
        ("import sys; sys.exit(4)", "a program ended with 4: no reason given"),
        ("raise ValueError('why')", "a program ended with 1: ValueError: why"),
    ],
)
@pytest.mark.parametrize("capture", [True, False])
def test_a_failure_is_one_line(code, message, capture):
    with pytest.raises(RunError) as error:
        run_process(python(code), "a program", capture=capture)
    assert str(error.value) == message


def test_python_does_not_import_from_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "argparse.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(tmp_path)
    assert run_process(python_command("json.tool", "--help"), "a tool").startswith("usage:")
