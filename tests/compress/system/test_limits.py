"""What runs within limits ends there, and leaves no limit behind."""

import resource
import signal
import sys
import threading

import pytest

from compress.system.limits import limited


def test_time_is_limited():
    with pytest.raises(TimeoutError), limited(0.05, 1 << 30):
        while True:
            pass
    with pytest.raises(TimeoutError), limited(0.05, 1 << 30):
        10 ** (10**8)
    with pytest.raises(TimeoutError), limited(0.05, 1 << 30):
        try:
            10 ** (10**8)
        except TimeoutError:
            while True:
                pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_a_timer_of_somebody_elses_goes_on():
    former = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 100)
    try:
        with limited(1, 1 << 30):
            pass
        assert 90 < signal.getitimer(signal.ITIMER_REAL)[0] <= 100
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory so")
def test_memory_is_limited():
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(MemoryError), limited(10, 1 << 28):
        "a" * (1 << 29)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert len("a" * (1 << 29)) == 1 << 29


def test_another_thread_has_no_timer():
    ended = []

    def work():
        with limited(10, 1 << 30):
            ended.append(signal.getitimer(signal.ITIMER_REAL))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended == [(0.0, 0.0)]
