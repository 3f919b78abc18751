"""What the tests of the command line share."""

import subprocess
import sys

import pytest

from compress.cli.main import main


@pytest.fixture
def inside(capsys, monkeypatch):
    """The command in this process, which is quicker than one of its own: exit code and what it said."""

    def call(*args):
        monkeypatch.setattr(sys, "argv", ["compress", *map(str, args)])
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return subprocess.CompletedProcess(args, ended.value.code, said.out, said.err)

    return call
