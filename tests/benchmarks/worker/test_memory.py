"""Peaks of memory, phase by phase."""

import mmap
import resource
from types import SimpleNamespace

from compress.benchmarks.worker import memory
from compress.benchmarks.worker.memory import Phases


def test_peaks_are_counted_phase_by_phase():
    phases = Phases()
    # Mapped by itself: an array's memory may come out of what the C library keeps, and goes back there.
    with mmap.mmap(-1, 64 << 20) as pages:
        pages[:] = bytes(len(pages))
        phases.end("large")
    phases.end("freed")  # the peak begins where the memory still was
    phases.end("small")
    assert phases.peaks["large"] - phases.peaks["small"] > 48e6
    assert phases.peak >= phases.peaks["large"]


def test_the_peak_is_read_in_units_of_1024_bytes(monkeypatch, tmp_path):
    status = tmp_path / "status"
    status.write_text("VmPeak:\t    9999 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1000 kB\n")
    monkeypatch.setattr(memory, "Path", lambda path: status if path == "/proc/self/status" else tmp_path / "nowhere")
    assert memory.peak_rss() == 2048 * 1024
    status.write_text("VmPeak:\t    9999 kB\n")
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=3))
    monkeypatch.setattr(memory.sys, "platform", "linux")
    assert memory.peak_rss() == 3 * 1024  # kilobytes on Linux, bytes on macOS (getrusage(2))
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert memory.peak_rss() == 3


def test_a_phase_keeps_its_largest_peak_and_the_process_that_of_all(monkeypatch):
    peaks = iter([100, 300, 200, 50])
    monkeypatch.setattr(memory, "peak_rss", lambda: next(peaks))
    phases = Phases()
    for name in ("load", "decode", "decode"):
        phases.end(name)
    assert phases.peaks == {"load": 100, "decode": 300}
    assert phases.peak == 300
    assert phases.devices == {}


def test_a_devices_memory_is_that_at_the_end_of_a_phase(monkeypatch):
    used = iter([70, 90, 80, None])
    monkeypatch.setattr(memory, "device_bytes", lambda: next(used))
    phases = Phases()
    phases.watch_device()
    for name in ("load", "decode", "decode", "unknown"):
        phases.end(name)
    assert phases.devices == {"load": 70, "decode": 90}
