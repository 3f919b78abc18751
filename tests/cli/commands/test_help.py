"""``compress help``: what ``--help`` prints, of the program and of each command."""

import pytest

from compress.cli.main import commands


def test_no_arguments_at_all_are_a_question_for_help(inside):
    texts = [inside(*args) for args in ((), ("help",), ("-h",), ("--help",))]
    assert {done.returncode for done in texts} == {0}
    assert {done.stdout for done in texts} == {texts[0].stdout}
    assert "Commands:" in texts[0].stdout


@pytest.mark.parametrize("name", commands())
def test_help_of_a_command(inside, name):
    texts = [inside("help", name), inside(name, "-h"), inside(name, "--help")]
    assert {done.returncode for done in texts} == {0}
    assert {done.stdout for done in texts} == {texts[0].stdout}
    assert texts[0].stdout.startswith(f"Usage: compress {name} ")


def test_help_of_what_is_no_command(inside):
    done = inside("help", "scor")
    assert (done.returncode, done.stderr) == (2, "compress: unknown command 'scor'; did you mean 'score'?\n")
