"""Interrupts are remembered even where their exception gets lost."""

import os
import signal
import subprocess
import sys

import pytest

from compress.system import interrupt


@pytest.fixture(autouse=True)
def _handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    interrupt._heard, interrupt._postponed = False, 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_whose_exception_got_lost_is_heard(number):
    signal.signal(number, signal.SIG_DFL)  # whatever the tests were started with: `nohup` ignores SIGHUP
    interrupt.listen()
    assert not interrupt.heard()
    interrupt.check()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
    assert interrupt.heard()
    with pytest.raises(KeyboardInterrupt):
        interrupt.check()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_an_ignored_interrupt_stays_ignored(number):
    signal.signal(number, signal.SIG_IGN)
    interrupt.listen()
    os.kill(os.getpid(), number)
    assert not interrupt.heard()


def test_a_second_interrupt_waits_for_the_clearing_away():
    interrupt.listen()
    steps = []

    def clear_away():
        with interrupt.postponed():
            with interrupt.postponed():
                os.kill(os.getpid(), signal.SIGTERM)
                steps.append("inner")
            steps.append("outer")
        steps.append("after")

    with pytest.raises(KeyboardInterrupt):
        clear_away()
    assert steps == ["inner", "outer"]
    assert interrupt.heard()
    with interrupt.postponed():  # an earlier one raises nothing again
        steps.append("again")
    assert (steps[-1], interrupt.heard()) == ("again", True)


def test_an_error_inside_is_not_replaced():
    interrupt.listen()
    with pytest.raises(ValueError, match="mine"), interrupt.postponed():
        os.kill(os.getpid(), signal.SIGTERM)
        raise ValueError("mine")
    assert interrupt.heard()


def test_at_the_end_of_the_program_interrupts_are_dropped():
    interrupt.listen()
    interrupt.ignore()
    os.kill(os.getpid(), signal.SIGTERM)
    with interrupt.postponed():
        os.kill(os.getpid(), signal.SIGTERM)
    assert not interrupt.heard()
    interrupt.listen()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [("KeyboardInterrupt", 130, "compress: interrupted"), ("ValueError('x')", 1, "ValueError: x")],
)
def test_while_the_program_is_loaded_an_interrupt_is_one_line(error, code, line):
    command = [sys.executable, "-P", "-c", f"import compress.cli; raise {error}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (code, line)
    assert ("Traceback" in done.stderr) == (code == 1)
