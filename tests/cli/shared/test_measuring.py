"""``--launches``, ``--seq``, ``--batch``, ``--beams``, ``--sample``: one argument, and the settings they ask for."""

import click
import pytest

from compress.benchmarks.runtime.decoding import Sampling
from compress.checkpoint.model import Model
from compress.cli.shared.measuring import SpeedOptions, speed_options
from compress.errors import UsageError


def parse(*args):
    """What a command with the options is called with."""
    calls = []
    command = click.command()(speed_options(lambda speed: calls.append(speed)))
    command.main(list(args), standalone_mode=False)
    return calls[0]


def test_options_reach_a_command_as_one_argument():
    assert not parse()
    speed = parse("--seq", "64,32", "--batch", "1,4", "--beams", "3", "--sample", "top_k=5,temperature=0.5")
    assert speed
    assert speed == SpeedOptions(None, (64, 32), (1, 4), 3, Sampling(top_k=5, temperature=0.5))


def test_settings_are_those_that_were_asked_for(llama, bert):
    speed = parse("--seq", "64,32", "--batch", "2", "--beams", "3")
    settings = speed.settings(Model.open(llama))
    assert settings == {"lengths": (64, 32), "batches": (2,), "beams": 3, "sampling": None, "longest": 128}
    assert parse("--seq", "64").settings(Model.open(bert))["lengths"] == (64,)
    assert parse("--launches", "5").settings(Model.open(bert)) == {"launches": 5, "patience": 0.0}
    assert parse("--launches", "5", "--seq", "64").settings(Model.open(bert))["launches"] == 5
    assert parse().settings(Model.open(bert)) == {}


@pytest.mark.parametrize(
    ("model", "args", "message"),
    [
        ("llama", ["--seq", "64,129"], "--seq 129 exceeds the longest input of"),
        ("llama", ["--beams", "332"], "--beams 332 exceeds the vocabulary of"),
        ("bert", ["--sample", "top_k=5"], "does not generate text; remove --beams and --sample"),
        ("llama", ["--batch", "99999999"], "GB of memory are free; reduce --batch or --seq"),
    ],
)
def test_what_a_model_or_this_machine_cannot_do_is_refused(request, model, args, message):
    with pytest.raises(UsageError, match=message):
        parse(*args).settings(Model.open(request.getfixturevalue(model)))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--seq", "64,x"], "'x' is not a positive integer; write a list like 1,4,16"),
        (["--batch", "1,,4"], "a number is missing"),
        (["--batch", "4,4"], "4 is given twice"),
        (["--sample", "top_k"], "top_k has no value"),
        (["--sample", "top_k=1,top_k=2"], "top_k is given twice"),
    ],
)
def test_what_is_no_list_is_refused(args, message):
    with pytest.raises((click.BadParameter, UsageError), match=message):
        parse(*args)
