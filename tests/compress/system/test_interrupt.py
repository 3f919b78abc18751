"""Interrupts are remembered even where their exception gets lost."""

import os
import signal

import pytest

from compress.system import interrupt


@pytest.fixture(autouse=True)
def _handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    interrupt._heard = False


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
